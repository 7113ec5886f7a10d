// All-reduce among the ranks of one machine, through a segment of memory that all of them map.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bucket.h"
#include "segment.h"

namespace iddpm {

class SharedMemory {
 public:
  // Maps the segment in every rank, or returns null in every rank: then `reason` says why, or is
  // empty because the ranks are on several machines. All ranks call it. `refused` is this rank's
  // reason not to take part; empty: there is none.
  static std::unique_ptr<SharedMemory> join(c10d::Store &store, int rank, int size, const std::string &refused, std::string &reason);

  explicit SharedMemory(std::unique_ptr<Segment> segment) : segment_(std::move(segment)) {}

  // How long wait() waits for a rank that runs but does not call it.
  void set_timeout(std::chrono::milliseconds timeout) { timeout_ = timeout; }

  // Whether launch accepts a dtype.
  static bool accepts(at::ScalarType dtype) { return at::isIntegralType(dtype, false) || at::isFloatingType(dtype); }

  // Has the next wait() set every tensor to the sum of all ranks' tensors at its place in the list.
  // Nothing is computed before, so that a faster rank continues its backward pass. The tensors are on the
  // CPU, of one dtype, and of the same shapes and strides in all ranks. A sum adds up the ranks in
  // their order, of 16-bit numbers in float32, and is rounded once: it is the same in all ranks,
  // whatever else is in the list. After an error there is no other call: the ranks may be at
  // different places.
  void launch(const std::vector<at::Tensor> &list) { launched_.push_back(list); }
  void wait();

 private:
  void all_reduce(Bucket bucket);
  void reduce_chunk(Bucket &bucket, int64_t begin, int64_t end);
  // Ends a phase of this rank, and waits until all others have ended it.
  void meet();
  void check_layout() const;

  std::unique_ptr<Segment> segment_;
  std::vector<std::vector<at::Tensor>> launched_;
  std::chrono::milliseconds timeout_{0};
  std::chrono::steady_clock::time_point deadline_;
  uint32_t phase_ = 0;
  int turn_ = 0;  // which of a rank's two buffers is in use
  bool failed_ = false;
};

}  // namespace iddpm
