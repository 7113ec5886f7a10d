// The C ABI of libiddpm.so, through which gotorch uses libtorch.
//
// Rules:
//   - No function throws. Each returns a gt_error (NULL: success; else a message
//     on the C heap, freed with gt_error_free) or a gt_result that contains one.
//     Errors are return values, not per-thread state, since goroutines move
//     between threads.
//   - No function calls back into Go.
//   - A gt_tensor argument may be NULL for an operator's optional tensor; it then
//     stands for the undefined tensor.
//   - Every declaration is one GT_API line, so that gotorch/loader.c can include
//     this file again with another GT_API and bind the same list at run time.
//   - A function with more than ten arguments has an options struct instead.
//     GT_STRUCT asserts the size of each struct.
#ifndef IDDPM_H_TYPES
#define IDDPM_H_TYPES

#include <stddef.h>
#include <stdint.h>

// A slot owns one at::Tensor. Slots are in slabs that are never unmapped, so
// `generation` can be read through a stale pointer, and shows that its tensor was
// freed.
typedef struct gt_slot {
  uint64_t generation;  // incremented when the tensor is freed
  uint64_t scoped;      // 1: freed with its scope; 0: freed by gt_free
} gt_slot;

typedef gt_slot *gt_tensor;
typedef char *gt_error;

typedef struct gt_result {
  gt_tensor value;
  gt_error error;
} gt_result;

typedef struct gt_pair {
  gt_tensor first;
  gt_tensor second;
  gt_error error;
} gt_pair;

typedef struct gt_device {
  int32_t type;   // c10::DeviceType: 0 CPU, 1 CUDA
  int32_t index;  // -1: the current GPU
} gt_device;

// libtorch's process-wide settings: see gotorch.Settings.
typedef struct gt_settings {
  int32_t threads;  // of an operator on the CPU, at least 1
  int32_t deterministic;
  int32_t benchmark_cudnn;
  int32_t tf32_matmul;  // on a GPU
  int32_t tf32_conv;
  int32_t no_cpu_cache;
} gt_settings;

// Bytes of the CPU's caching allocator.
typedef struct gt_cpu_memory_stats {
  int64_t allocated;  // in tensors
  int64_t peak_allocated;
  int64_t cached;  // freed, and kept for later tensors
} gt_cpu_memory_stats;

typedef struct gt_generator_ *gt_generator;

// The key of one stream of counter-based random numbers: see kernels/philox.h.
typedef struct gt_philox_key {
  uint64_t seed;
  uint32_t stream;       // purpose of the numbers (noise, dropout of layer k)
  uint32_t step;         // training step or sampling step
  int64_t first_sample;  // index of row 0 in the global batch
} gt_philox_key;

// The arguments of gt_group_norm_silu beside its input [N, C, H, W].
typedef struct gt_group_norm_options {
  int64_t groups;
  double eps;
  gt_tensor weight, bias;  // [C]
  gt_tensor rest;          // concatenated to the input along the channels; NULL: nothing
  gt_tensor scale_shift;   // [N, 2 C], or NULL
  gt_tensor input_bias;    // [C] or [N, C], or NULL
  double dropout;          // rate, in [0, 1)
  gt_philox_key key;       // of the dropout mask
  gt_tensor step_of;       // added to key.step; NULL: 0
  int32_t linear;          // leaves out SiLU
  int32_t with_skip;       // returns the input, too
} gt_group_norm_options;

// The tensors of an AdamW update: lists of n tensors, one per parameter.
typedef struct gt_adamw_tensors {
  int64_t n;
  const gt_tensor *params, *grads, *exp_avg, *exp_avg_sq;
  const gt_tensor *working;  // NULL for a parameter without one
  gt_tensor step;            // number of updates
} gt_adamw_tensors;

typedef struct gt_adamw_options {
  double lr, beta1, beta2, weight_decay, eps;
  gt_tensor lr_from;      // replaces lr; NULL: lr
  gt_tensor skip;         // 1 skips the update; NULL: 0
  gt_tensor grad_scale;   // multiplies the gradients; NULL: 1
  const gt_tensor *emas;  // n_emas lists of n tensors, one after the other
  const double *rates;    // of the n_emas averages
  int64_t n_emas;
} gt_adamw_options;

typedef struct gt_group_ *gt_group;

// The rendezvous of a group, and this process's rank.
typedef struct gt_group_options {
  const char *host;    // of the store
  const char *prefix;  // of the keys in the store
  int32_t port;
  int32_t listen_fd;  // a socket that already listens on the port; -1: none
  int32_t serve;      // whether this process serves the store
  int32_t local;      // whether all processes are on this machine
  int32_t rank;
  int32_t size;
  int32_t no_shared_memory;  // whether all-reduces of host memory use gloo in any case
  double connect_seconds;  // timeout of the store, and then of the rendezvous
  double wait_seconds;     // timeout of every later operation
} gt_group_options;

#endif  // IDDPM_H_TYPES

// The size in bytes of a struct that crosses the ABI. Each compiler asserts it, and
// gotorch/loader.c compares the list with that of the library, as it does the functions.
#ifndef GT_STRUCT
#define GT_STRUCT_DEFAULT
#ifdef __cplusplus
#define GT_STRUCT(name, bytes) static_assert(sizeof(name) == bytes, "the size of " #name);
#else
#define GT_STRUCT(name, bytes) _Static_assert(sizeof(name) == bytes, "the size of " #name);
#endif
#endif

GT_STRUCT(gt_slot, 16)
GT_STRUCT(gt_result, 16)
GT_STRUCT(gt_pair, 24)
GT_STRUCT(gt_device, 8)
GT_STRUCT(gt_settings, 24)
GT_STRUCT(gt_cpu_memory_stats, 24)
GT_STRUCT(gt_philox_key, 24)
GT_STRUCT(gt_group_norm_options, 104)
GT_STRUCT(gt_adamw_tensors, 56)
GT_STRUCT(gt_adamw_options, 88)
GT_STRUCT(gt_group_options, 64)

#ifdef GT_STRUCT_DEFAULT
#undef GT_STRUCT
#undef GT_STRUCT_DEFAULT
#endif

#ifndef GT_API
#define GT_API_DEFAULT
#ifdef __cplusplus
#define GT_API(ret, name, args) extern "C" __attribute__((visibility("default"))) ret name args;
#else
#define GT_API(ret, name, args) extern ret name args;
#endif
#endif

// ---- handles and scopes (handle.cc)
GT_API(void, gt_error_free, (gt_error e))
GT_API(int64_t, gt_live_tensors, (void))
// Frees the tensor of that generation, unless it is already freed: copies of a
// handle may be freed twice, by Free and by the garbage collector.
GT_API(gt_error, gt_free, (gt_tensor t, uint64_t generation))
GT_API(void, gt_scope_push, (void))
GT_API(void, gt_scope_pop, (void))
// Moves t from its scope to the enclosing one; without one it becomes unscoped.
GT_API(gt_error, gt_scope_move_out, (gt_tensor t))

// ---- process-wide settings, devices, modes (device.cc)
// The version of the libtorch headers that this library was compiled with.
GT_API(const char *, gt_torch_version, (void))
GT_API(const char *, gt_cpu_capability, (void))
GT_API(int32_t, gt_cpu_has_bf16, (void))
// See gotorch.Settings. set changes nothing if it returns an error.
GT_API(gt_error, gt_get_settings, (gt_settings *out))
GT_API(gt_error, gt_set_settings, (gt_settings s))
GT_API(int32_t, gt_set_grad_mode, (int32_t on))
GT_API(int32_t, gt_grad_mode, (void))
GT_API(int32_t, gt_cuda_available, (void))
GT_API(int32_t, gt_cuda_device_count, (void))

// ---- memory of the CPU (allocator.cc)
GT_API(gt_cpu_memory_stats, gt_cpu_memory, (void))
GT_API(void, gt_cpu_empty_cache, (void))

// ---- constructors (tensor.cc)
GT_API(gt_result, gt_empty, (const int64_t *shape, int64_t n, int32_t dtype, gt_device d))
GT_API(gt_result, gt_zeros, (const int64_t *shape, int64_t n, int32_t dtype, gt_device d))
GT_API(gt_result, gt_full, (const int64_t *shape, int64_t n, double v, int32_t dtype, gt_device d))
GT_API(gt_result, gt_arange, (double start, double end, double step, int32_t dtype, gt_device d))
GT_API(gt_result, gt_linspace, (double start, double end, int64_t steps, int32_t dtype, gt_device d))
GT_API(gt_result, gt_from_bytes, (const void *data, int64_t bytes, const int64_t *shape, int64_t n, int32_t dtype))
GT_API(gt_error, gt_to_bytes, (gt_tensor t, void *data, int64_t bytes))
GT_API(gt_result, gt_empty_like, (gt_tensor t))
GT_API(gt_result, gt_zeros_like, (gt_tensor t))
GT_API(gt_result, gt_clone, (gt_tensor t))

// ---- properties, copies and conversions (tensor.cc)
GT_API(int32_t, gt_dtype, (gt_tensor t))
GT_API(gt_device, gt_tensor_device, (gt_tensor t))
GT_API(int64_t, gt_dim, (gt_tensor t))
GT_API(int64_t, gt_numel, (gt_tensor t))
GT_API(int64_t, gt_element_size, (gt_tensor t))
GT_API(void, gt_shape, (gt_tensor t, int64_t *shape))
GT_API(int32_t, gt_is_channels_last, (gt_tensor t))
GT_API(gt_error, gt_item, (gt_tensor t, double *out))
GT_API(gt_error, gt_string, (gt_tensor t, char **out))
GT_API(gt_result, gt_to, (gt_tensor t, gt_device d, int32_t dtype, int32_t non_blocking))
GT_API(gt_result, gt_cast, (gt_tensor t, int32_t dtype))
GT_API(gt_error, gt_cast_list, (const gt_tensor *list, int64_t n, int32_t dtype, gt_tensor *out))
GT_API(gt_result, gt_contiguous, (gt_tensor t, int32_t channels_last))
GT_API(gt_result, gt_pin_memory, (gt_tensor t))
GT_API(gt_error, gt_copy_, (gt_tensor dst, gt_tensor src, int32_t non_blocking))

// ---- pointwise operators (pointwise.cc)
GT_API(gt_result, gt_add, (gt_tensor a, gt_tensor b, double alpha))
GT_API(gt_error, gt_add_, (gt_tensor a, gt_tensor b, double alpha))
GT_API(gt_result, gt_sub, (gt_tensor a, gt_tensor b, double alpha))
GT_API(gt_error, gt_sub_, (gt_tensor a, gt_tensor b, double alpha))
GT_API(gt_result, gt_mul, (gt_tensor a, gt_tensor b))
GT_API(gt_result, gt_div, (gt_tensor a, gt_tensor b))
GT_API(gt_error, gt_div_, (gt_tensor a, gt_tensor b))
GT_API(gt_result, gt_add_scalar, (gt_tensor a, double v))
GT_API(gt_error, gt_add_scalar_, (gt_tensor a, double v))
GT_API(gt_result, gt_mul_scalar, (gt_tensor a, double v))
GT_API(gt_error, gt_mul_scalar_, (gt_tensor a, double v))
GT_API(gt_result, gt_pow_scalar, (gt_tensor a, double v))
GT_API(gt_result, gt_addcmul, (gt_tensor a, gt_tensor b, gt_tensor c, double value))
GT_API(gt_result, gt_clamp, (gt_tensor a, double lo, double hi))
GT_API(gt_result, gt_clamp_min, (gt_tensor a, double lo))
GT_API(gt_result, gt_where, (gt_tensor condition, gt_tensor a, gt_tensor b))
GT_API(gt_result, gt_unary, (int32_t op, gt_tensor a))
GT_API(gt_result, gt_less, (gt_tensor a, gt_tensor b))
GT_API(gt_result, gt_compare_scalar, (int32_t op, gt_tensor a, double v))
GT_API(gt_error, gt_fill_, (gt_tensor a, double v))

// ---- reductions (reduce.cc)
GT_API(gt_result, gt_sum, (gt_tensor a, const int64_t *dims, int64_t n, int32_t keepdim))
GT_API(gt_result, gt_mean, (gt_tensor a, const int64_t *dims, int64_t n, int32_t keepdim))
GT_API(gt_result, gt_max, (gt_tensor a))
GT_API(gt_result, gt_cumprod, (gt_tensor a, int64_t dim))
GT_API(gt_pair, gt_topk, (gt_tensor a, int64_t k, int64_t dim, int32_t largest, int32_t sorted))
GT_API(gt_error, gt_equal, (gt_tensor a, gt_tensor b, int32_t *out))

// ---- shapes (shape.cc)
GT_API(gt_result, gt_view, (gt_tensor a, const int64_t *shape, int64_t n))
GT_API(gt_result, gt_reshape, (gt_tensor a, const int64_t *shape, int64_t n))
GT_API(gt_result, gt_permute, (gt_tensor a, const int64_t *dims, int64_t n))
GT_API(gt_result, gt_transpose, (gt_tensor a, int64_t d0, int64_t d1))
GT_API(gt_result, gt_unsqueeze, (gt_tensor a, int64_t dim))
GT_API(gt_result, gt_flatten, (gt_tensor a, int64_t start, int64_t end))
GT_API(gt_result, gt_expand, (gt_tensor a, const int64_t *shape, int64_t n))
GT_API(gt_result, gt_narrow, (gt_tensor a, int64_t dim, int64_t start, int64_t length))
GT_API(gt_result, gt_select, (gt_tensor a, int64_t dim, int64_t index))
GT_API(gt_result, gt_index_select, (gt_tensor a, int64_t dim, gt_tensor index))
GT_API(gt_result, gt_cat, (const gt_tensor *list, int64_t n, int64_t dim))
GT_API(gt_result, gt_stack, (const gt_tensor *list, int64_t n, int64_t dim))

// ---- matrix products and layers (nn.cc)
GT_API(gt_result, gt_mm, (gt_tensor a, gt_tensor b))
GT_API(gt_result, gt_matmul, (gt_tensor a, gt_tensor b))
// Eigenvalues in ascending order and eigenvectors as columns of symmetric matrices.
GT_API(gt_pair, gt_eigh, (gt_tensor a))
GT_API(gt_result, gt_linear, (gt_tensor x, gt_tensor w, gt_tensor b))
// Writes one result per weight to out.
GT_API(gt_error, gt_linear_each, (gt_tensor x, const gt_tensor *w, const gt_tensor *b, int64_t n, gt_tensor *out))
GT_API(gt_result, gt_conv2d, (gt_tensor x, gt_tensor w, gt_tensor b, const int64_t *stride, const int64_t *padding, const int64_t *dilation, int64_t groups))
GT_API(gt_result, gt_group_norm, (gt_tensor x, int64_t groups, gt_tensor w, gt_tensor b, double eps))
GT_API(gt_result, gt_residual_add, (gt_tensor x, gt_tensor h, gt_tensor b))
// y and, if with_skip, the input for the skip connection: see kernels/group_norm.h.
GT_API(gt_pair, gt_group_norm_silu, (gt_tensor x, gt_group_norm_options o))
GT_API(gt_result, gt_log_softmax, (gt_tensor x, int64_t dim))
GT_API(gt_result, gt_nll_loss, (gt_tensor x, gt_tensor target))
GT_API(gt_result, gt_attention, (gt_tensor q, gt_tensor k, gt_tensor v))
GT_API(gt_result, gt_self_attention, (gt_tensor qkv, int64_t heads))
GT_API(gt_result, gt_embedding, (gt_tensor w, gt_tensor index))
GT_API(gt_result, gt_max_pool2d, (gt_tensor x, const int64_t *kernel, const int64_t *stride, const int64_t *padding, const int64_t *dilation, int32_t ceil_mode))
GT_API(gt_result, gt_avg_pool2d, (gt_tensor x, const int64_t *kernel, const int64_t *stride, const int64_t *padding, int32_t count_include_pad))
GT_API(gt_result, gt_adaptive_avg_pool2d, (gt_tensor x, const int64_t *output))
GT_API(gt_result, gt_upsample_nearest2d, (gt_tensor x, int64_t h, int64_t w))
GT_API(gt_result, gt_upsample_bilinear2d, (gt_tensor x, int64_t h, int64_t w))
GT_API(gt_result, gt_upsample_weight, (gt_tensor w, int32_t dtype))
GT_API(gt_result, gt_upsample_conv2d, (gt_tensor x, gt_tensor wide, gt_tensor b))

// ---- autograd (autograd.cc)
GT_API(gt_error, gt_requires_grad_, (gt_tensor t, int32_t on))
GT_API(int32_t, gt_requires_grad, (gt_tensor t))
GT_API(gt_result, gt_detach, (gt_tensor t))
GT_API(gt_error, gt_keep_grad_layout, (gt_tensor t))
GT_API(gt_result, gt_grad, (gt_tensor t))
GT_API(gt_error, gt_set_grad, (gt_tensor t, gt_tensor g))
GT_API(gt_error, gt_backward, (gt_tensor t, gt_tensor gradient, int32_t retain_graph))
GT_API(gt_error, gt_backward_all, (const gt_tensor *list, const gt_tensor *gradients, int64_t n))
GT_API(gt_error, gt_zero_grads, (const gt_tensor *params, int64_t n))

// ---- operators on lists of tensors (optim.cc)
// Increments t.step unless the update is skipped.
GT_API(gt_error, gt_fused_adamw_, (gt_adamw_tensors t, gt_adamw_options o))
GT_API(gt_error, gt_foreach_add_, (const gt_tensor *a, const gt_tensor *b, int64_t n, double alpha))
GT_API(gt_error, gt_foreach_mul_, (const gt_tensor *a, int64_t n, gt_tensor factor))
GT_API(gt_error, gt_foreach_copy_, (const gt_tensor *dst, const gt_tensor *src, int64_t n))
GT_API(gt_result, gt_total_norm, (const gt_tensor *a, int64_t n))

// ---- random numbers (random.cc, kernels/philox.cc)
GT_API(gt_error, gt_generator_new, (gt_device d, uint64_t seed, gt_generator *out))
GT_API(void, gt_generator_free, (gt_generator g))
GT_API(gt_error, gt_uniform_, (gt_tensor t, double from, double to, gt_generator g))
GT_API(gt_error, gt_normal_, (gt_tensor t, double mean, double std, gt_generator g))
GT_API(gt_result, gt_philox_normal, (const int64_t *shape, int64_t n, int32_t dtype, gt_device d, gt_philox_key key, gt_tensor step_of))
GT_API(gt_result, gt_philox_uniform, (const int64_t *shape, int64_t n, int32_t dtype, gt_device d, gt_philox_key key, gt_tensor step_of))
GT_API(gt_result, gt_philox_dropout, (gt_tensor x, double p, gt_philox_key key, gt_tensor step_of))

// ---- diffusion (diffusion.cc, kernels/diffusion.cc, kernels/diffusion_steps.cc)
// Mean squared error [N] of out against target, and with `bound` the term of the
// variational bound [N] in bits/dim: see gotorch.DiffusionLosses.
GT_API(gt_pair, gt_diffusion_losses, (gt_tensor out, gt_tensor target, gt_tensor x_start, gt_tensor rows, int32_t bound, int32_t through))
// x_t and its noise: see gotorch.DiffusionQSample.
GT_API(gt_pair, gt_diffusion_q_sample, (gt_tensor x_start, gt_tensor rows, gt_philox_key key, gt_tensor step_of))
// x_{t-1} and the predicted x_0; noise may be NULL: see gotorch.DiffusionReverseStep.
GT_API(gt_pair, gt_diffusion_reverse_step, (gt_tensor out, gt_tensor x, gt_tensor rows, int32_t clip, gt_tensor noise))

// ---- process groups (distributed.cc): see gotorch.ProcessGroup
// Waits for the store, and registers this rank there. Call gt_group_connect before any collective.
GT_API(gt_error, gt_group_new, (gt_group_options o, gt_group *out))
// Whether all of these ranks have registered.
GT_API(gt_error, gt_group_registered, (gt_group g, const int32_t *ranks, int64_t n, int32_t *all))
// Waits for all ranks, and connects them.
GT_API(gt_error, gt_group_connect, (gt_group g))
GT_API(gt_error, gt_group_set_timeout, (gt_group g, double wait_seconds))
// Why all-reduces of host memory use gloo although all ranks are on one machine; else empty.
GT_API(const char *, gt_group_gloo_reason, (gt_group g))
// Creates the NCCL communicator; each process uses another GPU.
GT_API(gt_error, gt_group_use_gpu, (gt_group g, int32_t device))
// Asynchronous until gt_group_wait on a GPU, and through shared memory.
GT_API(gt_error, gt_group_all_reduce, (gt_group g, const gt_tensor *list, int64_t n))
GT_API(gt_error, gt_group_wait, (gt_group g))
GT_API(gt_error, gt_group_broadcast, (gt_group g, const gt_tensor *list, int64_t n, int32_t root))
GT_API(gt_result, gt_group_all_gather, (gt_group g, gt_tensor t))
GT_API(void, gt_group_free, (gt_group g))

// ---- CUDA kernels (kernels/cuda_kernels.cc)
// kernels is the result of gt_cuda_kernels of libiddpm_cuda.so.
GT_API(void, gt_set_cuda_kernels, (const void *kernels))

#ifdef GT_API_DEFAULT
#undef GT_API
#undef GT_API_DEFAULT
#endif
