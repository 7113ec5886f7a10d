// Memory of CPU tensors, kept for the next step instead of given back.
//
// A step makes and frees the same hundreds of megabytes as the one before it.
// malloc returns much of that to the kernel, which then clears the pages again,
// one fault each: 4,000 in a step of the smallest network. So blocks of freed
// tensors wait here, by size, for the next tensor of that size.
#include "allocator.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/alignment.h>
#include <c10/core/impl/alloc_cpu.h>

#include <algorithm>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "iddpm.h"

namespace iddpm {
namespace {

// Bytes in tensors, at most so far, and in the cache.
struct CPUMemory {
  size_t live, most, cached;
};

// In front of every block, in a cache line of its own.
struct Header {
  size_t size;
};
constexpr size_t kHeader = 64;

// Rounds up to one of eight sizes per power of two: nearly equal sizes share
// blocks, and at most an eighth of one is wasted.
size_t rounded(size_t n) {
  n = std::max<size_t>(n, 64);
  size_t step = size_t{1} << (std::max(9, 63 - __builtin_clzll(n)) - 3);
  return (n + step - 1) / step * step;
}

class CachingAllocator final : public at::Allocator {
 public:
  at::DataPtr allocate(size_t n) override {
    void *data = n == 0 ? nullptr : take(rounded(n));
    return {data, data, &CachingAllocator::release, at::Device(at::kCPU)};
  }

  at::DeleterFnPtr raw_deleter() const override { return &CachingAllocator::release; }

  void copy_data(void *dest, const void *src, std::size_t count) const override { default_copy_data(dest, src, count); }

  CPUMemory memory() {
    std::lock_guard<std::mutex> lock(mutex_);
    return {live_, most_, waiting_};
  }

  void empty_cache() {
    std::lock_guard<std::mutex> lock(mutex_);
    empty();
  }

  bool enabled() {
    std::lock_guard<std::mutex> lock(mutex_);
    return enabled_;
  }

  void enable(bool on) {
    std::lock_guard<std::mutex> lock(mutex_);
    enabled_ = on;
    if (!on) empty();
  }

 private:
  static void release(void *data);

  void *take(size_t size) {
    if (void *data = reuse(size)) return data;
    char *block = static_cast<char *>(fresh(kHeader + size));
    reinterpret_cast<Header *>(block)->size = size;
    std::lock_guard<std::mutex> lock(mutex_);
    most_ = std::max(most_, live_ += size);
    return block + kHeader;
  }

  // A block of that size that waits, or NULL.
  void *reuse(size_t size) {
    std::lock_guard<std::mutex> lock(mutex_);
    std::vector<void *> &list = free_[size];
    if (list.empty()) {
      // Work of another shape leaves blocks that nobody asks for again.
      if (live_ + size + waiting_ > most_ + most_ / 2) empty();
      return nullptr;
    }
    void *data = list.back();
    list.pop_back();
    waiting_ -= size;
    most_ = std::max(most_, live_ += size);
    return data;
  }

  // Where memory runs out, the blocks that wait may be what is lacking.
  void *fresh(size_t size) {
    try {
      return c10::alloc_cpu(size);
    } catch (const c10::Error &) {
      std::lock_guard<std::mutex> lock(mutex_);
      empty();
    }
    return c10::alloc_cpu(size);
  }

  void give(void *data) {
    size_t size = reinterpret_cast<Header *>(static_cast<char *>(data) - kHeader)->size;
    std::lock_guard<std::mutex> lock(mutex_);
    live_ -= size;
    if (!enabled_) return c10::free_cpu(static_cast<char *>(data) - kHeader);
    free_[size].push_back(data);
    waiting_ += size;
  }

  void empty() {
    for (auto &[size, list] : free_) {
      for (void *data : list) c10::free_cpu(static_cast<char *>(data) - kHeader);
      list.clear();
    }
    waiting_ = 0;
  }

  std::mutex mutex_;
  std::unordered_map<size_t, std::vector<void *>> free_;  // by size
  size_t live_ = 0, most_ = 0;                            // bytes in tensors: now, and at most so far
  size_t waiting_ = 0;                                    // bytes in free_
  bool enabled_ = true;                                   // keep the blocks of freed tensors
};

// Leaked on purpose: tensors may die while the process exits.
CachingAllocator &allocator() {
  static CachingAllocator *a = new CachingAllocator;
  return *a;
}

void CachingAllocator::release(void *data) {
  if (data != nullptr) allocator().give(data);
}

const bool installed = [] {
  c10::SetCPUAllocator(&allocator(), /*priority=*/1);
  return true;
}();

}  // namespace

bool cpu_cache_enabled() { return allocator().enabled(); }

void enable_cpu_cache(bool on) { allocator().enable(on); }

}  // namespace iddpm

gt_cpu_memory_stats gt_cpu_memory(void) {
  iddpm::CPUMemory m = iddpm::allocator().memory();
  return {static_cast<int64_t>(m.live), static_cast<int64_t>(m.most), static_cast<int64_t>(m.cached)};
}

void gt_cpu_empty_cache(void) { iddpm::allocator().empty_cache(); }
