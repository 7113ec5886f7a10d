#include "bucket.h"

#include <ATen/Parallel.h>
#include <c10/util/hash.h>

#include <algorithm>
#include <cstring>

namespace iddpm {

namespace {

constexpr int64_t kGrain = 1 << 16;  // elements that are worth a thread

// Calls f(tensor, first element in it, first element of all, count) for each piece of a range.
template <class F>
void for_pieces(const std::vector<int64_t> &starts, int64_t begin, int64_t end, F &&f) {
  size_t k = std::upper_bound(starts.begin(), starts.end(), begin) - starts.begin() - 1;
  for (; begin < end; k++) {
    int64_t n = std::min(end, starts[k + 1]) - begin;
    f(k, begin - starts[k], begin, n);
    begin += n;
  }
}

}  // namespace

Bucket::Bucket(const std::vector<at::Tensor> &list) : starts_{0} {
  for (const at::Tensor &t : list) {
    list_.push_back(t.detach());
    dense_.push_back(t.is_non_overlapping_and_dense() ? list_.back() : list_.back().contiguous());
    starts_.push_back(starts_.back() + t.numel());
  }
}

// The stride of a dimension of size 1 means nothing.
uint64_t Bucket::layout() const {
  size_t hash = static_cast<size_t>(dtype());
  auto add = [&](int64_t n) { hash = c10::hash_combine(hash, static_cast<size_t>(n)); };
  for (const at::Tensor &t : dense_) {
    add(t.dim());
    for (int64_t d = 0; d < t.dim(); d++) add(t.size(d)), add(t.size(d) > 1 ? t.stride(d) : 1);
  }
  return hash;
}

void Bucket::read(int64_t begin, int64_t end, char *to) const {
  const int64_t width = dense_[0].element_size();
  at::parallel_for(begin, end, kGrain, [&](int64_t from, int64_t until) {
    for_pieces(starts_, from, until, [&](size_t k, int64_t at, int64_t place, int64_t n) {
      std::memcpy(to + (place - begin) * width, static_cast<const char *>(dense_[k].const_data_ptr()) + at * width, n * width);
    });
  });
}

void Bucket::write(int64_t begin, int64_t end, const char *from) {
  const int64_t width = dense_[0].element_size();
  at::parallel_for(begin, end, kGrain, [&](int64_t first, int64_t until) {
    for_pieces(starts_, first, until, [&](size_t k, int64_t at, int64_t place, int64_t n) {
      std::memcpy(static_cast<char *>(dense_[k].data_ptr()) + at * width, from + (place - begin) * width, n * width);
    });
  });
}

void Bucket::finish() {
  for (size_t k = 0; k < list_.size(); k++) {
    if (!dense_[k].is_same(list_[k])) list_[k].copy_(dense_[k]);
  }
}

}  // namespace iddpm
