// cuDNN's graph interface: descriptors that store their attributes, one engine for every
// graph, and executions that are counted by operation.
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "dry.h"

using namespace dry;

namespace {

// Constants from cuDNN's headers, which come with the library.
enum Status { kSuccess = 0, kBadParam = 2000, kExecutionFailed = 5000 };
enum Type { kHandle = 0, kBoolean = 2, kInt64 = 3, kDouble = 5, kVoidPtr = 6, kDescriptor = 15, kInt32 = 23, kChar = 24, kFraction = 26 };
enum Operation { kConvolution = 10, kFilterGradient = 11, kInputGradient = 12, kAttention = 41 };
enum Attribute {
  kHeuristicGraph = 201,
  kHeuristicResults = 202,
  kConfigEngine = 300,
  kConfigSharedMemory = 304,
  kPlanConfig = 401,
  kPlanWorkspace = 402,
  kGraphOperations = 801,
  kPackPointers = 1001,
  kEngineGraph = 1300,
};

struct Handle {
  cudaStream_t stream = nullptr;
};

struct Descriptor {
  int kind = 0;
  std::map<int, std::vector<std::shared_ptr<Descriptor>>> links;
  std::map<int, std::pair<int64_t, std::string>> values;  // how many, and their bytes
};

// The program's handle. A destroyed descriptor lives on in those that refer to it.
struct Held {
  std::shared_ptr<Descriptor> d{new Descriptor};
};

// Attention is one operation in the forward pass, and a graph of many in the backward pass.
std::string operation_name(const std::vector<std::shared_ptr<Descriptor>> &operations) {
  if (operations.size() > 1) return "cudnn graph of " + std::to_string(operations.size()) + " operations";
  switch (operations[0]->kind) {
    case kConvolution: return "cudnn convolution";
    case kFilterGradient: return "cudnn convolution, gradient of the filter";
    case kInputGradient: return "cudnn convolution, gradient of the input";
    case kAttention: return "cudnn attention";
    default: return "cudnn operation " + std::to_string(operations[0]->kind);
  }
}

std::shared_ptr<Descriptor> follow(std::shared_ptr<Descriptor> d, std::initializer_list<int> path) {
  for (int attribute : path) {
    auto at = d->links.find(attribute);
    if (at == d->links.end() || at->second.empty()) return nullptr;
    d = at->second[0];
  }
  return d;
}

size_t width(int type) {
  switch (type) {
    case kBoolean: case kChar: return 1;
    case kHandle: case kInt64: case kDouble: case kVoidPtr: case kDescriptor: return 8;
    case kFraction: return 16;
    default: return 4;  // the enumerations
  }
}

int results(const Held &heuristic, int64_t room, int64_t *count, void **out) {
  if (count != nullptr) *count = 1;
  if (room < 1 || out == nullptr) return kSuccess;
  auto engine = std::make_shared<Descriptor>();
  engine->links[kEngineGraph] = heuristic.d->links[kHeuristicGraph];
  static_cast<Held *>(out[0])->d->links[kConfigEngine] = {engine};
  return kSuccess;
}

// Copies the attributes of linked descriptors to the program's own descriptors.
int get_links(const Held &h, int name, int64_t room, int64_t *count, void **out) {
  auto at = h.d->links.find(name);
  int64_t n = at == h.d->links.end() ? 0 : static_cast<int64_t>(at->second.size());
  if (count != nullptr) *count = n;
  for (int64_t i = 0; i < std::min(n, room) && out != nullptr; ++i) static_cast<Held *>(out[i])->d = at->second[i];
  return kSuccess;
}

int get_values(const Held &h, int name, int type, int64_t room, int64_t *count, void *out) {
  auto at = h.d->values.find(name);
  int64_t n = at == h.d->values.end() ? 0 : at->second.first;
  if (count != nullptr) *count = n;
  if (out != nullptr && n != 0) memcpy(out, at->second.second.data(), static_cast<size_t>(std::min(n, room)) * width(type));
  return kSuccess;
}

template <class T>
int get_number(T value, int64_t *count, void *out) {
  if (count != nullptr) *count = 1;
  if (out != nullptr) memcpy(out, &value, sizeof value);
  return kSuccess;
}

// A convolution of host memory would crash a real program. Other operations also read
// scalars from the host.
void check_pointers(const Held &pack, int operation) {
  if (operation < kConvolution || operation > kInputGradient) return;
  auto at = pack.d->values.find(kPackPointers);
  if (at == pack.d->values.end()) return;
  auto pointers = reinterpret_cast<void *const *>(at->second.second.data());
  for (int64_t i = 0; i < at->second.first; ++i) {
    const Allocation *a = find(state(), pointers[i]);
    if (a == nullptr || a->place != Place::kDevice) violation("cuDNN is called with memory that is not device memory");
  }
}

}  // namespace

DRY_API size_t cudnnGetVersion() { return 91900; }
DRY_API size_t cudnnGetCudartVersion() { return CUDART_VERSION; }
DRY_API const char *cudnnGetErrorString(int) { return "an error of the dry run's cuDNN"; }
DRY_API void cudnnGetLastErrorString(char *out, size_t size) { snprintf(out, size, "none"); }

DRY_API int cudnnCreate(Handle **out) {
  *out = new Handle;
  return kSuccess;
}

DRY_API int cudnnSetStream(Handle *handle, cudaStream_t stream) {
  handle->stream = stream;
  return kSuccess;
}

DRY_API int cudnnGetStream(Handle *handle, cudaStream_t *stream) {
  *stream = handle->stream;
  return kSuccess;
}

DRY_API int cudnnBackendCreateDescriptor(int kind, Held **out) {
  *out = new Held;
  (*out)->d->kind = kind;
  return kSuccess;
}

DRY_API int cudnnBackendDestroyDescriptor(Held *h) {
  delete h;
  return kSuccess;
}

DRY_API int cudnnBackendFinalize(Held *) { return kSuccess; }

DRY_API int cudnnBackendSetAttribute(Held *h, int name, int type, int64_t count, const void *values) {
  if (type != kDescriptor) {
    h->d->values[name] = {count, std::string(static_cast<const char *>(values), static_cast<size_t>(count) * width(type))};
    return kSuccess;
  }
  auto &links = h->d->links[name];
  links.clear();
  for (int64_t i = 0; i < count; ++i) links.push_back(static_cast<Held *const *>(values)[i]->d);
  return kSuccess;
}

DRY_API int cudnnBackendGetAttribute(Held *h, int name, int type, int64_t room, int64_t *count, void *out) {
  if (name == kHeuristicResults) return results(*h, room, count, static_cast<void **>(out));
  if (name == kPlanWorkspace && type == kInt64) return get_number(card().workspace, count, out);
  if (name == kConfigSharedMemory && type == kInt32) return get_number<int32_t>(0, count, out);
  if (type == kDescriptor) return get_links(*h, name, room, count, static_cast<void **>(out));
  return get_values(*h, name, type, room, count, out);
}

DRY_API int cudnnBackendExecute(Handle *handle, Held *plan, Held *pack) {
  auto graph = follow(plan->d, {kPlanConfig, kConfigEngine, kEngineGraph});
  if (graph == nullptr || graph->links[kGraphOperations].empty()) return kBadParam;
  const auto &operations = graph->links[kGraphOperations];
  cudaError_t e = call([&](State &s) {
    check_pointers(*pack, operations[0]->kind);
    return submit(s, "cudnnBackendExecute", handle->stream, {Work::kLaunch, operation_name(operations)});
  });
  return e == cudaSuccess ? kSuccess : kExecutionFailed;
}
