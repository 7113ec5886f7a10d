// The elements of a list of tensors as one sequence, without a copy of them.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

namespace iddpm {

class Bucket {
 public:
  // The tensors are on the CPU, of one dtype, and at least one.
  explicit Bucket(const std::vector<at::Tensor> &list);

  at::ScalarType dtype() const { return dense_[0].scalar_type(); }
  int64_t numel() const { return starts_.back(); }
  // Identifies dtype, shapes and strides.
  uint64_t layout() const;

  // Copy elements begin to end, in the order in which they lie in memory.
  void read(int64_t begin, int64_t end, char *to) const;
  void write(int64_t begin, int64_t end, const char *from);
  // Completes what has been written.
  void finish();

 private:
  std::vector<at::Tensor> list_, dense_;  // dense_: a copy of each tensor that has gaps or overlaps, and else itself
  std::vector<int64_t> starts_;           // per tensor, its first element's place; and the end
};

}  // namespace iddpm
