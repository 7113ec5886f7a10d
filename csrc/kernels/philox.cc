// Counter-based random numbers on the CPU.
#include "philox.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "cuda_kernels.h"
#include "simd.h"

namespace iddpm {
namespace {

// In elements: the counter has 32 bits and numbers groups of four.
constexpr double kLongestRow = 17179869184.0;

// Groups of four elements per call of the loops below: enough for the compiler
// to draw many at a time.
constexpr int64_t kQuads = kPhiloxRun / 4;

// The bits of kQuads groups of row n, from group `first` on, in the order of elements.
IDDPM_CLONES void draw(const PhiloxKey &key, int64_t n, uint32_t first, uint32_t *bits) {
  uint64_t seed = key.seed, sample = static_cast<uint64_t>(key.first_sample + n);
  uint32_t stream = key.stream, step = key.step_now();
#pragma omp simd
  for (uint32_t i = 0; i < kQuads; ++i) {
    Philox4 quad = philox4(seed, stream, step, sample, first + i);
    bits[4 * i] = quad.v[0];
    bits[4 * i + 1] = quad.v[1];
    bits[4 * i + 2] = quad.v[2];
    bits[4 * i + 3] = quad.v[3];
  }
}

// Calls fill(first element, bits, number of elements) for runs of at most
// 4 kQuads elements of every sample, in parallel.
template <class Fill>
void for_each_run(const at::Tensor &out, const PhiloxKey &key, Fill fill) {
  int64_t samples = out.dim() == 0 ? 1 : out.size(0);
  if (samples == 0 || out.numel() == 0) return;
  int64_t row = out.numel() / samples;
  int64_t runs = (row + 4 * kQuads - 1) / (4 * kQuads);
  at::parallel_for(0, samples * runs, 4096 / kQuads, [&](int64_t begin, int64_t end) {
    alignas(64) uint32_t bits[4 * kQuads];
    for (int64_t i = begin; i < end; ++i) {
      int64_t n = i / runs, quad = i % runs * kQuads;
      draw(key, n, static_cast<uint32_t>(quad), bits);
      fill(n * row + 4 * quad, bits, std::min<int64_t>(4 * kQuads, row - 4 * quad));
    }
  });
}

void normals(const uint32_t *bits, int64_t count, float *p) {
  for (int64_t i = 0; i < count; i += 2) {
    float z[2];
    box_muller(bits[i], bits[i + 1], z);
    for (int64_t k = 0; k < std::min<int64_t>(2, count - i); ++k) p[i + k] = z[k];
  }
}

void fill_normal(at::Tensor &out, const PhiloxKey &key) {
  float *p = out.data_ptr<float>();
  for_each_run(out, key, [p](int64_t at, const uint32_t *bits, int64_t count) { normals(bits, count, p + at); });
}

IDDPM_CLONES void uniforms(const uint32_t *bits, int64_t count, float *p) {
  for (int64_t i = 0; i < count; ++i) p[i] = unit_float(bits[i]);
}

void fill_uniform(at::Tensor &out, const PhiloxKey &key) {
  float *p = out.data_ptr<float>();
  for_each_run(out, key, [p](int64_t at, const uint32_t *bits, int64_t count) { uniforms(bits, count, p + at); });
}

// 0 for a dropped element, else keep; for 16-bit types, their bits.
template <class T>
IDDPM_INLINE void mask(const uint32_t *bits, int64_t count, float threshold, T keep, T *p) {
  for (int64_t i = 0; i < count; ++i) p[i] = unit_float(bits[i]) < threshold ? T(0) : keep;
}
#define IDDPM_INSTANCE(T)                                                                             \
  IDDPM_CLONES void run_mask(const uint32_t *bits, int64_t count, float threshold, T keep, T *p) { \
    mask(bits, count, threshold, keep, p);                                                            \
  }
IDDPM_INSTANCE(uint16_t)
IDDPM_INSTANCE(float)
IDDPM_INSTANCE(double)
#undef IDDPM_INSTANCE

template <class T>
void fill_mask(at::Tensor &out, double drop, const PhiloxKey &key, T keep) {
  T *p = static_cast<T *>(out.data_ptr());
  float threshold = static_cast<float>(drop);
  for_each_run(out, key, [=](int64_t at, const uint32_t *bits, int64_t count) { run_mask(bits, count, threshold, keep, p + at); });
}

void fill_mask_cpu(at::Tensor &out, double p, const PhiloxKey &key) {
  double keep = 1.0 / (1.0 - p);
  switch (out.scalar_type()) {
    case at::kFloat: return fill_mask(out, p, key, static_cast<float>(keep));
    case at::kBFloat16: return fill_mask(out, p, key, at::BFloat16(static_cast<float>(keep)).x);
    case at::kHalf: return fill_mask(out, p, key, at::Half(static_cast<float>(keep)).x);
    case at::kDouble: return fill_mask(out, p, key, keep);
    default: TORCH_CHECK(false, "dropout of a ", out.scalar_type(), " tensor");
  }
}

}  // namespace

at::Tensor philox_empty(at::IntArrayRef shape, at::ScalarType dtype, at::Device device) {
  double row = 1;
  for (size_t d = 1; d < shape.size(); ++d) row *= static_cast<double>(shape[d]);
  TORCH_CHECK(row <= kLongestRow, "a sample of shape ", shape, " is too large for the random stream");
  at::MemoryFormat format = shape.size() == 4 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
  return at::empty(shape, at::TensorOptions().dtype(dtype).device(device).memory_format(format));
}

void philox_normal_run(const PhiloxKey &key, int64_t n, int64_t first, int64_t count, float *out) {
  alignas(64) uint32_t bits[4 * kQuads];
  draw(key, n, static_cast<uint32_t>(first / 4), bits);
  normals(bits, count, out);
}

PhiloxKey philox_key(const gt_philox_key &key, const at::Tensor &step_of, at::Device device) {
  PhiloxKey k{key.seed, key.stream, key.step, key.first_sample};
  if (!step_of.defined()) return k;
  bool number = step_of.numel() == 1 && step_of.scalar_type() == at::kLong;
  TORCH_CHECK(number && step_of.device().type() == device.type() && (!device.has_index() || step_of.device() == device),
              "the step offset is ", step_of.toString(), step_of.sizes(), ", not one int64 on ", device);
  k.step_of = step_of.const_data_ptr<int64_t>();
  return k;
}

at::Tensor philox_normal(at::IntArrayRef shape, at::ScalarType dtype, at::Device device, const PhiloxKey &key) {
  at::Tensor out = philox_empty(shape, at::kFloat, device);
  device.is_cpu() ? fill_normal(out, key) : cuda_kernels().philox_normal(out, key);
  return out.to(dtype);
}

at::Tensor philox_uniform(at::IntArrayRef shape, at::ScalarType dtype, at::Device device, const PhiloxKey &key) {
  at::Tensor out = philox_empty(shape, at::kFloat, device);
  device.is_cpu() ? fill_uniform(out, key) : cuda_kernels().philox_uniform(out, key);
  return out.to(dtype);
}

at::Tensor philox_dropout(const at::Tensor &x, double p, const PhiloxKey &key) {
  TORCH_CHECK(p >= 0 && p < 1, "the dropout rate ", p, " is not in [0, 1)");
  if (p == 0) return x;
  at::Tensor mask = philox_empty(x.sizes(), x.scalar_type(), x.device());
  x.is_cpu() ? fill_mask_cpu(mask, p, key) : cuda_kernels().philox_mask(mask, p, key);
  return x * mask;
}

}  // namespace iddpm
