#include "shared_memory.h"

#include <ATen/Dispatch.h>
#include <ATen/OpMathType.h>
#include <ATen/Parallel.h>

#include <algorithm>

namespace iddpm {

namespace {

constexpr int64_t kBlock = 256;      // elements whose sums are in the first-level cache
constexpr int64_t kGrain = 1 << 15;  // elements that are worth a thread
constexpr int64_t kSliceUnit = 64;   // no two ranks write to one cache line

// Sets out to the sums of the inputs' elements begin to end, where out may be one of them.
template <class T>
void sum(const std::vector<const char *> &inputs, char *out, int64_t begin, int64_t end) {
  using Sum = at::opmath_type<T>;
  at::parallel_for(begin, end, kGrain, [&](int64_t from, int64_t until) {
    Sum sums[kBlock];
    for (int64_t at = from; at < until; at += kBlock) {
      const int64_t n = std::min(kBlock, until - at);
      for (size_t r = 0; r < inputs.size(); r++) {
        const T *x = reinterpret_cast<const T *>(inputs[r]) + at;
        if (r == 0) std::transform(x, x + n, sums, [](T v) { return static_cast<Sum>(v); });
        else for (int64_t i = 0; i < n; i++) sums[i] += static_cast<Sum>(x[i]);
      }
      std::transform(sums, sums + n, reinterpret_cast<T *>(out) + at, [](Sum v) { return static_cast<T>(v); });
    }
  });
}

// The first of a chunk's n elements that a rank sums up.
int64_t slice(int rank, int size, int64_t n) {
  int64_t each = (n + size - 1) / size;
  each = (each + kSliceUnit - 1) / kSliceUnit * kSliceUnit;
  return std::min(n, rank * each);
}

}  // namespace

std::unique_ptr<SharedMemory> SharedMemory::join(c10d::Store &store, int rank, int size, const std::string &refused, std::string &reason) {
  auto segment = Segment::join(store, rank, size, refused, reason);
  return segment == nullptr ? nullptr : std::make_unique<SharedMemory>(std::move(segment));
}

// The tensors are let go of, whatever happens.
void SharedMemory::wait() {
  auto launched = std::exchange(launched_, {});
  TORCH_CHECK(!failed_ || launched.empty(), "an all-reduce before this one has failed");
  if (launched.empty()) return;
  failed_ = true;
  deadline_ = std::chrono::steady_clock::now() + timeout_;
  for (const auto &list : launched) all_reduce(Bucket(list));
  failed_ = false;
}

void SharedMemory::all_reduce(Bucket bucket) {
  segment_->signals(segment_->rank()).layout.store(bucket.layout(), std::memory_order_relaxed);
  const int64_t most = Segment::kBufferBytes / at::elementSize(bucket.dtype());
  for (int64_t begin = 0; begin < bucket.numel(); begin += most) reduce_chunk(bucket, begin, std::min(begin + most, bucket.numel()));
  bucket.finish();
}

// A reduce-scatter and an all-gather. The buffers take turns: others may still read the one of the
// chunk before, but not that of two chunks before, when all have ended a phase in between.
void SharedMemory::reduce_chunk(Bucket &bucket, int64_t begin, int64_t end) {
  const int rank = segment_->rank(), size = segment_->size();
  const int64_t n = end - begin, width = at::elementSize(bucket.dtype());
  turn_ ^= 1;
  char *mine = segment_->buffer(rank, turn_);
  bucket.read(begin, end, mine);
  meet();
  if (begin == 0) check_layout();
  std::vector<const char *> inputs;
  for (int r = 0; r < size; r++) inputs.push_back(segment_->buffer(r, turn_));
  AT_DISPATCH_ALL_TYPES_AND2(at::kHalf, at::kBFloat16, bucket.dtype(), "all_reduce", [&] {
    sum<scalar_t>(inputs, mine, slice(rank, size, n), slice(rank + 1, size, n));
  });
  meet();
  for (int r = 0; r < size; r++) {
    int64_t from = slice(r, size, n), until = slice(r + 1, size, n);
    bucket.write(begin + from, begin + until, inputs[r] + from * width);
  }
}

void SharedMemory::meet() {
  segment_->announce(++phase_);
  for (int r = 0; r < segment_->size(); r++) {
    if (r != segment_->rank()) segment_->await(r, phase_, deadline_);
  }
}

// Else sums would be of elements that do not belong together.
void SharedMemory::check_layout() const {
  uint64_t mine = segment_->signals(segment_->rank()).layout.load(std::memory_order_relaxed);
  for (int r = 0; r < segment_->size(); r++) {
    bool same = segment_->signals(r).layout.load(std::memory_order_relaxed) == mine;
    TORCH_CHECK(same, "the tensors of ranks ", r, " and ", segment_->rank(), " in one all-reduce differ in number, shape, strides or dtype");
  }
}

}  // namespace iddpm
