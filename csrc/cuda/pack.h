// Adjacent values that a thread loads and stores at once: 16 bytes are the widest and
// fastest access of a GPU.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace iddpm {

template <class T, int V>
struct alignas(sizeof(T) * V) Pack {
  T v[V];
};

template <class T, int V>
__device__ __forceinline__ Pack<T, V> fetch_pack(const T *p) {
  return *reinterpret_cast<const Pack<T, V> *>(p);
}

template <class T, int V>
__device__ __forceinline__ void unpack(const Pack<T, V> &pack, float *out) {
  for (int i = 0; i < V; ++i) out[i] = static_cast<float>(pack.v[i]);
}

template <class T, int V>
__device__ __forceinline__ void load(const T *p, float *out) {
  unpack(fetch_pack<T, V>(p), out);
}

template <class T, int V>
__device__ __forceinline__ void store(T *p, const float *in) {
  Pack<T, V> pack;
  for (int i = 0; i < V; ++i) pack.v[i] = static_cast<T>(in[i]);
  *reinterpret_cast<Pack<T, V> *>(p) = pack;
}

// Number of values of T in 16 bytes.
template <class T>
constexpr int kPack = 16 / static_cast<int>(sizeof(T));

// Whether c channels are divisible into packs of V, and these addresses are aligned to
// packs.
template <class T, int V>
bool packs(int64_t c, const void *p, const void *q, const void *r) {
  uintptr_t all = reinterpret_cast<uintptr_t>(p) | reinterpret_cast<uintptr_t>(q) | reinterpret_cast<uintptr_t>(r);
  return c % V == 0 && all % (sizeof(T) * V) == 0;
}

}  // namespace iddpm
