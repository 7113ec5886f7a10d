// Memory that the ranks of one machine share: a buffer pair and a futex per rank.
#pragma once

#include <torch/csrc/distributed/c10d/Store.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace iddpm {

// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor &&other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor &operator=(Descriptor &&other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor();
  int get() const { return fd_; }

 private:
  int fd_;
};

// What a rank tells the others. Zero at first.
struct alignas(128) Signals {
  std::atomic<uint32_t> phase;  // counts the phases that the rank has ended: a futex
  std::atomic<uint32_t> left;   // whether the rank has left the group
  std::atomic<uint64_t> layout;  // of the tensors that it has brought to this all-reduce
};
static_assert(std::atomic<uint32_t>::is_always_lock_free && std::atomic<uint64_t>::is_always_lock_free);

class Segment {
 public:
  // Each rank reads what all others have written: with more ranks gloo's ring moves less.
  static constexpr int kMaxRanks = 16;
  // Small enough for all ranks' buffers to stay in the last-level cache.
  static constexpr int64_t kBufferBytes = 1 << 20;

  // See SharedMemory::join.
  static std::unique_ptr<Segment> join(c10d::Store &store, int rank, int size, const std::string &refused, std::string &reason);

  Segment(int rank, int size, int fd);
  ~Segment();
  Segment(const Segment &) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  Signals &signals(int rank) const;
  // One of the two buffers of a rank, which alone writes to it.
  char *buffer(int rank, int turn) const;

  // Tells the others that this rank has ended a phase.
  void announce(uint32_t phase);
  // Waits until another rank has ended a phase. Throws if that process has ended or left, or the
  // deadline passes.
  void await(int other, uint32_t phase, std::chrono::steady_clock::time_point deadline) const;

 private:
  // Opens a pidfd of the next rank's process.
  void watch(int pid);
  void wake();
  bool reached(int other, uint32_t phase) const;
  void check_alive(int other, uint32_t phase) const;

  const int rank_, size_;
  char *base_;
  std::vector<Descriptor> processes_;  // per rank, a pidfd
};

}  // namespace iddpm
