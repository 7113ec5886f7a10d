// The card that the stand-in GPU models: DRY_GPU_NAME, DRY_GPU_CAPABILITY, DRY_GPU_MEMORY, DRY_GPU_DRIVER and
// DRY_GPU_WORKSPACE.
#include <cstdio>
#include <cstdlib>

#include "dry.h"

namespace dry {
namespace {

// From the table of technical specifications in CUDA's programming guide.
struct Limits {
  int major, minor, threads_of_sm, blocks_of_sm;
  size_t shared_of_sm, shared_opt_in;  // KiB
};

const Limits kLimits[] = {
    {6, 0, 2048, 32, 64, 48},   {7, 0, 2048, 32, 96, 96},    {7, 5, 1024, 16, 64, 64},
    {8, 0, 2048, 32, 164, 163}, {8, 6, 1536, 16, 100, 99},   {8, 9, 1536, 24, 100, 99},
    {9, 0, 2048, 32, 228, 227}, {10, 0, 2048, 32, 228, 227}, {12, 0, 1536, 24, 100, 99},
};

const char *setting(const char *name, const char *otherwise) {
  const char *value = getenv(name);
  return value != nullptr ? value : otherwise;
}

// Reads a number of MiB and returns bytes.
size_t mebibytes(const char *name, const char *otherwise) { return strtoull(setting(name, otherwise), nullptr, 10) << 20; }

void parse_version(const char *name, const char *otherwise, int *major, int *minor) {
  const char *value = setting(name, otherwise);
  if (sscanf(value, "%d.%d", major, minor) == 2) return;
  fprintf(stderr, "stand-in GPU: %s=%s is not like %s\n", name, value, otherwise);
  abort();
}

const Limits &limits(int major, int minor) {
  for (const Limits &l : kLimits) {
    if (l.major == major && l.minor == minor) return l;
  }
  fprintf(stderr, "stand-in GPU: compute capability %d.%d is not modelled\n", major, minor);
  abort();
}

// The number of GPUs that CUDA_VISIBLE_DEVICES leaves visible; which ones does not matter.
int visible() {
  std::string set = setting("CUDA_VISIBLE_DEVICES", "0,1");
  return set.empty() || set == "-1" ? 0 : kDevices;
}

}  // namespace

const Card &card() {
  static const Card *c = [] {
    int major, minor, cuda, point;
    parse_version("DRY_GPU_CAPABILITY", "9.0", &major, &minor);
    parse_version("DRY_GPU_DRIVER", "13.0", &cuda, &point);
    const Limits &l = limits(major, minor);
    Card *c = new Card;
    c->name = setting("DRY_GPU_NAME", "dry run (no GPU)");
    c->major = major;
    c->minor = minor;
    c->memory = mebibytes("DRY_GPU_MEMORY", "81920");
    c->workspace = static_cast<int64_t>(mebibytes("DRY_GPU_WORKSPACE", "1"));
    c->driver = 1000 * cuda + 10 * point;
    c->devices = visible();
    c->threads_of_sm = l.threads_of_sm;
    c->blocks_of_sm = l.blocks_of_sm;
    c->shared_of_sm = l.shared_of_sm << 10;
    c->shared_opt_in = l.shared_opt_in << 10;
    return c;
  }();
  return *c;
}

}  // namespace dry
