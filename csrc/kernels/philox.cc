// The CPU side of the counter-based random numbers.
#include "philox.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>

namespace iddpm {
namespace {

// Elements: a counter numbers 2^32 groups of four.
constexpr double kLongestRow = 17179869184.0;

at::Tensor empty(at::IntArrayRef shape, at::ScalarType dtype, at::Device device) {
  double row = 1;
  for (size_t d = 1; d < shape.size(); ++d) row *= static_cast<double>(shape[d]);
  TORCH_CHECK(row <= kLongestRow, "a sample of shape ", shape, " is too large for the random stream");
  at::MemoryFormat format = shape.size() == 4 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
  return at::empty(shape, at::TensorOptions().dtype(dtype).device(device).memory_format(format));
}

// Calls fill(row, quad, bits, count) for every group of four elements of every
// sample, in parallel; count is below 4 at a row's end.
template <class Fill>
void for_each_quad(const at::Tensor &out, const gt_philox_key &key, Fill fill) {
  int64_t samples = out.dim() == 0 ? 1 : out.size(0);
  if (samples == 0 || out.numel() == 0) return;
  int64_t row = out.numel() / samples;
  int64_t quads = (row + 3) / 4;
  at::parallel_for(0, samples * quads, 4096, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      int64_t n = i / quads, q = i % quads;
      Philox4 bits = philox4(key.seed, key.stream, key.step, static_cast<uint64_t>(key.first_sample + n),
                             static_cast<uint32_t>(q));
      fill(n * row + 4 * q, bits, std::min<int64_t>(4, row - 4 * q));
    }
  });
}

void fill_normal(at::Tensor &out, const gt_philox_key &key) {
  float *p = out.data_ptr<float>();
  for_each_quad(out, key, [p](int64_t at, const Philox4 &bits, int64_t count) {
    float z[4];
    box_muller(bits.v[0], bits.v[1], z);
    box_muller(bits.v[2], bits.v[3], z + 2);
    for (int64_t k = 0; k < count; ++k) p[at + k] = z[k];
  });
}

void fill_uniform(at::Tensor &out, const gt_philox_key &key) {
  float *p = out.data_ptr<float>();
  for_each_quad(out, key, [p](int64_t at, const Philox4 &bits, int64_t count) {
    for (int64_t k = 0; k < count; ++k) p[at + k] = unit_float(bits.v[k]);
  });
}

template <class T>
void fill_mask(at::Tensor &out, double drop, const gt_philox_key &key) {
  T *p = out.data_ptr<T>();
  T keep = static_cast<T>(1.0 / (1.0 - drop));
  float threshold = static_cast<float>(drop);
  for_each_quad(out, key, [=](int64_t at, const Philox4 &bits, int64_t count) {
    for (int64_t k = 0; k < count; ++k) p[at + k] = unit_float(bits.v[k]) < threshold ? T(0) : keep;
  });
}

void fill_mask_cpu(at::Tensor &out, double p, const gt_philox_key &key) {
  switch (out.scalar_type()) {
    case at::kFloat: return fill_mask<float>(out, p, key);
    case at::kBFloat16: return fill_mask<at::BFloat16>(out, p, key);
    case at::kHalf: return fill_mask<at::Half>(out, p, key);
    case at::kDouble: return fill_mask<double>(out, p, key);
    default: TORCH_CHECK(false, "dropout of a ", out.scalar_type(), " tensor");
  }
}

std::atomic<const PhiloxCuda *> cuda_kernels{nullptr};

const PhiloxCuda &cuda() {
  const PhiloxCuda *kernels = cuda_kernels.load();
  TORCH_CHECK(kernels != nullptr, "libiddpm_cuda.so is not loaded");
  return *kernels;
}

}  // namespace

void philox_set_cuda(const PhiloxCuda *kernels) { cuda_kernels.store(kernels); }

at::Tensor philox_normal(at::IntArrayRef shape, at::ScalarType dtype, at::Device device, const gt_philox_key &key) {
  at::Tensor out = empty(shape, at::kFloat, device);
  device.is_cpu() ? fill_normal(out, key) : cuda().normal(out, key);
  return out.to(dtype);
}

at::Tensor philox_uniform(at::IntArrayRef shape, at::ScalarType dtype, at::Device device, const gt_philox_key &key) {
  at::Tensor out = empty(shape, at::kFloat, device);
  device.is_cpu() ? fill_uniform(out, key) : cuda().uniform(out, key);
  return out.to(dtype);
}

at::Tensor philox_dropout(const at::Tensor &x, double p, const gt_philox_key &key) {
  TORCH_CHECK(p >= 0 && p < 1, "the dropout rate ", p, " is not in [0, 1)");
  if (p == 0) return x;
  at::Tensor mask = empty(x.sizes(), x.scalar_type(), x.device());
  x.is_cpu() ? fill_mask_cpu(mask, p, key) : cuda().dropout_mask(mask, p, key);
  return x * mask;
}

}  // namespace iddpm
