// Memory of the device and pinned memory of the host.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>

#include "dry.h"

namespace dry {
namespace {

size_t in_pages(size_t bytes) { return (bytes + 0xffff) & ~size_t{0xffff}; }

// Device memory has two mappings: the program's, where host accesses crash as with a GPU,
// and our own. Pages are allocated by the first copy to them.
bool map_device(size_t bytes, char **address, char **alias) {
  int file = memfd_create("device memory", MFD_CLOEXEC);
  if (file < 0 || ftruncate(file, static_cast<off_t>(bytes)) != 0) return false;
  void *view = mmap(nullptr, bytes, PROT_NONE, MAP_SHARED | MAP_NORESERVE, file, 0);
  void *ours = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0);
  close(file);
  *address = static_cast<char *>(view);
  *alias = static_cast<char *>(ours);
  return view != MAP_FAILED && ours != MAP_FAILED;
}

bool map_host(size_t bytes, char **address, char **alias) {
  void *p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  *address = *alias = static_cast<char *>(p);
  return p != MAP_FAILED;
}

}  // namespace

int &current_device() {
  static thread_local int device = 0;
  return device;
}

cudaError_t allocate(State &s, const char *api, Place place, size_t bytes, void **out) {
  *out = nullptr;
  if (cudaError_t e = forbid_unsafe(s, api)) return e;
  if (bytes == 0) return cudaSuccess;
  size_t size = in_pages(bytes);
  bool device = place == Place::kDevice;
  char *address, *alias;
  if (device && s.used + size > card().memory) return cudaErrorMemoryAllocation;
  if (!(device ? map_device : map_host)(size, &address, &alias)) return cudaErrorMemoryAllocation;
  s.memory[address] = {++s.ids, place, current_device(), size, alias};
  if (device) s.used += size;
  report("eager", "malloc", api, size);
  *out = address;
  return cudaSuccess;
}

cudaError_t release(State &s, const char *api, Place place, void *p) {
  if (p == nullptr) return cudaSuccess;
  if (cudaError_t e = forbid_unsafe(s, api)) return e;
  auto at = s.memory.find(static_cast<char *>(p));
  if (at == s.memory.end() || at->second.place != place) {
    violation(std::string(api) + " of a pointer that was not allocated so");
    return cudaErrorInvalidValue;
  }
  const Allocation a = at->second;
  s.memory.erase(at);
  if (place == Place::kDevice) s.used -= a.bytes;
  if (a.alias != p) munmap(a.alias, a.bytes);
  munmap(p, a.bytes);
  report("eager", "free", api, a.bytes);
  return cudaSuccess;
}

const Allocation *find(State &s, const void *p) {
  char *address = const_cast<char *>(static_cast<const char *>(p));
  auto at = s.memory.upper_bound(address);
  if (at == s.memory.begin() || address >= (--at)->first + at->second.bytes) return nullptr;
  return &at->second;
}

char *reachable(State &s, const void *p) {
  char *address = const_cast<char *>(static_cast<const char *>(p));
  auto at = s.memory.upper_bound(address);
  if (at == s.memory.begin() || address >= (--at)->first + at->second.bytes) return address;
  return at->second.alias + (address - at->first);
}

}  // namespace dry

using namespace dry;

DRY_API cudaError_t cudaMalloc(void **p, size_t bytes) {
  return call([&](State &s) { return allocate(s, "cudaMalloc", Place::kDevice, bytes, p); });
}

// It waits for all work on the memory, so it counts as a synchronisation.
DRY_API cudaError_t cudaFree(void *p) {
  if (p != nullptr) wait_for_collectives(collectives());
  return call([&](State &s) {
    if (p != nullptr) report("eager", "sync", "cudaFree");
    return release(s, "cudaFree", Place::kDevice, p);
  });
}

DRY_API cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned) {
  return call([&](State &s) { return allocate(s, "cudaHostAlloc", Place::kPinned, bytes, p); });
}

DRY_API cudaError_t cudaMallocHost(void **p, size_t bytes) { return cudaHostAlloc(p, bytes, 0); }

DRY_API cudaError_t cudaFreeHost(void *p) {
  return call([&](State &s) { return release(s, "cudaFreeHost", Place::kPinned, p); });
}

DRY_API cudaError_t cudaMemGetInfo(size_t *free, size_t *total) {
  return call([&](State &s) {
    *total = card().memory;
    *free = *total - s.used;
    return cudaSuccess;
  });
}

DRY_API cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *out, const void *p) {
  return call([&](State &s) {
    *out = {};
    out->device = -2;
    const Allocation *a = find(s, p);
    if (a == nullptr) return cudaSuccess;
    out->type = a->place == Place::kDevice ? cudaMemoryTypeDevice : cudaMemoryTypeHost;
    out->device = a->device;
    out->devicePointer = const_cast<void *>(p);
    if (a->place == Place::kPinned) out->hostPointer = const_cast<void *>(p);
    return cudaSuccess;
  });
}
