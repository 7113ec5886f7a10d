// Counter-based random numbers on a GPU: one thread draws four numbers, the result of one
// call of philox4.
#include "philox_kernels.h"

#include "quads.h"

namespace iddpm {
namespace {

// Calls fill(first element, bits, count) with the drawn bits.
template <class Fill>
struct Draw {
  PhiloxShape shape;
  PhiloxKey key;
  Fill fill;
  __device__ void operator()(int64_t n, int64_t q, int count) const { fill(n * shape.row + 4 * q, key.quad(n, q), count); }
};

template <class Fill>
cudaError_t fill_with(PhiloxShape shape, const PhiloxKey &key, cudaStream_t stream, Fill fill) {
  return launch_quads(shape, stream, Draw<Fill>{shape, key, fill});
}

struct Normal {
  float *out;
  __device__ void operator()(int64_t at, const Philox4 &bits, int count) const {
    float z[4];
    normals(bits, z);
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
