// The CUDA side of the counter-based random numbers: one thread draws four
// numbers, as one call of philox4 gives them.
#include "philox_kernels.h"

#include "../kernels/philox.h"
#include "launch.h"

namespace iddpm {
namespace {

template <class Fill>
__global__ void for_each_quad(PhiloxShape shape, PhiloxKey key, Fill fill) {
  int64_t quads = (shape.row + 3) / 4;
  int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < shape.samples * quads; i += stride) {
    int64_t n = i / quads, q = i % quads;
    int64_t rest = shape.row - 4 * q;
    fill(n * shape.row + 4 * q, key.quad(n, q), rest < 4 ? static_cast<int>(rest) : 4);
  }
}

template <class Fill>
cudaError_t fill_with(PhiloxShape shape, const PhiloxKey &key, cudaStream_t stream, Fill fill) {
  constexpr int64_t kThreads = 256, kBlocks = 1 << 16;
  int64_t quads = shape.samples * ((shape.row + 3) / 4);
  if (quads == 0) return cudaSuccess;
  int64_t blocks = (quads + kThreads - 1) / kThreads;
  return launch(for_each_quad<Fill>, dim3(static_cast<unsigned>(blocks < kBlocks ? blocks : kBlocks)), dim3(kThreads), stream,
                shape, key, fill);
}

struct Normal {
  float *out;
  __device__ void operator()(int64_t at, const Philox4 &bits, int count) const {
    float z[4];
    box_muller(bits.v[0], bits.v[1], z);
    box_muller(bits.v[2], bits.v[3], z + 2);
    for (int k = 0; k < count; ++k) out[at + k] = z[k];
  }
};

struct Uniform {
  float *out;
  __device__ void operator()(int64_t at, const Philox4 &bits, int count) const {
    for (int k = 0; k < count; ++k) out[at + k] = unit_float(bits.v[k]);
  }
};

template <class Bits>
struct Mask {
  Bits *out;
  Bits keep;
  float drop;
  __device__ void operator()(int64_t at, const Philox4 &bits, int count) const {
    for (int k = 0; k < count; ++k) out[at + k] = unit_float(bits.v[k]) < drop ? Bits(0) : keep;
  }
};

}  // namespace

cudaError_t launch_philox_normal(float *out, PhiloxShape shape, const PhiloxKey &key, cudaStream_t stream) {
  return fill_with(shape, key, stream, Normal{out});
}

cudaError_t launch_philox_uniform(float *out, PhiloxShape shape, const PhiloxKey &key, cudaStream_t stream) {
  return fill_with(shape, key, stream, Uniform{out});
}

template <class Bits>
cudaError_t launch_philox_mask(Bits *out, Bits keep, float drop, PhiloxShape shape, const PhiloxKey &key,
                               cudaStream_t stream) {
  return fill_with(shape, key, stream, Mask<Bits>{out, keep, drop});
}

template cudaError_t launch_philox_mask(uint16_t *, uint16_t, float, PhiloxShape, const PhiloxKey &, cudaStream_t);
template cudaError_t launch_philox_mask(uint32_t *, uint32_t, float, PhiloxShape, const PhiloxKey &, cudaStream_t);
template cudaError_t launch_philox_mask(uint64_t *, uint64_t, float, PhiloxShape, const PhiloxKey &, cudaStream_t);

}  // namespace iddpm
