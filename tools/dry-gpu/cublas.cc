// cuBLAS and cuBLASLt: handles, and matrix products that are only counted. Their headers
// come with the libraries, so this file declares what it needs. C's calling convention
// allows a function to ignore arguments that it does not declare.
#include <cstring>

#include "dry.h"

using namespace dry;

namespace {

enum Status { kSuccess = 0, kExecutionFailed = 13 };

struct Handle {
  cudaStream_t stream = nullptr;
  int math = 0, pointers = 0;
};

// cublasLtMatmulHeuristicResult_t.
struct Heuristic {
  uint64_t algorithm[8];
  size_t workspace;
  int state;
  float waves;
  int reserved[4];
};

int launch(const char *name, cudaStream_t stream) {
  return submit_call(name, stream) == cudaSuccess ? kSuccess : kExecutionFailed;
}

int create(void **out) {
  *out = new Handle;
  return kSuccess;
}

int destroy(void *p) {
  delete static_cast<Handle *>(p);
  return kSuccess;
}

}  // namespace

DRY_API int cublasCreate_v2(void **handle) { return create(handle); }
DRY_API int cublasDestroy_v2(Handle *handle) { return destroy(handle); }
DRY_API int cublasSetWorkspace_v2(Handle *) { return kSuccess; }

DRY_API int cublasSetStream_v2(Handle *handle, cudaStream_t stream) {
  handle->stream = stream;
  return kSuccess;
}

DRY_API int cublasSetMathMode(Handle *handle, int mode) {
  handle->math = mode;
  return kSuccess;
}

DRY_API int cublasGetMathMode(Handle *handle, int *mode) {
  *mode = handle->math;
  return kSuccess;
}

DRY_API int cublasSetPointerMode_v2(Handle *handle, int mode) {
  handle->pointers = mode;
  return kSuccess;
}

DRY_API int cublasGetPointerMode_v2(Handle *handle, int *mode) {
  *mode = handle->pointers;
  return kSuccess;
}

#define LAUNCHES(name) \
  DRY_API int name(Handle *handle) { return launch(#name, handle->stream); }
LAUNCHES(cublasGemmEx)
LAUNCHES(cublasGemmStridedBatchedEx)
LAUNCHES(cublasSgemm_v2)
LAUNCHES(cublasSgemmEx)
LAUNCHES(cublasSgemmStridedBatched)
LAUNCHES(cublasSgemv_v2)
LAUNCHES(cublasSdot_v2)
LAUNCHES(cublasDgemm_v2)
LAUNCHES(cublasDgemmStridedBatched)
LAUNCHES(cublasDgemv_v2)
LAUNCHES(cublasDdot_v2)
LAUNCHES(cublasDotEx)
#undef LAUNCHES

// Descriptors are opaque to the program, and not read here.
DRY_API int cublasLtMatmulDescCreate(void **out) { return create(out); }
DRY_API int cublasLtMatmulDescDestroy(void *p) { return destroy(p); }
DRY_API int cublasLtMatmulDescSetAttribute(void *) { return kSuccess; }
DRY_API int cublasLtMatmulPreferenceCreate(void **out) { return create(out); }
DRY_API int cublasLtMatmulPreferenceDestroy(void *p) { return destroy(p); }
DRY_API int cublasLtMatmulPreferenceSetAttribute(void *) { return kSuccess; }
DRY_API int cublasLtMatrixLayoutCreate(void **out) { return create(out); }
DRY_API int cublasLtMatrixLayoutDestroy(void *p) { return destroy(p); }
DRY_API int cublasLtMatrixLayoutSetAttribute(void *) { return kSuccess; }

DRY_API int cublasLtMatmulAlgoGetHeuristic(void *, void *, void *, void *, void *, void *, void *, int, Heuristic *out,
                                           int *count) {
  memset(out, 0, sizeof *out);
  *count = 1;
  return kSuccess;
}

DRY_API int cublasLtMatmul(void *, void *, const void *, const void *, void *, const void *, void *, const void *,
                           const void *, void *, void *, void *, const void *, void *, size_t, cudaStream_t stream) {
  return launch("cublasLtMatmul", stream);
}
