// Constructors, properties, copies and conversions of tensors.

#include <cstdlib>
#include <cstring>
#include <sstream>

#include "handle.h"
#include "kernels/cast.h"

using namespace iddpm;

gt_result gt_empty(const int64_t *shape, int64_t n, int32_t dtype, gt_device d) {
  return guard_tensor([&] { return at::empty(ints(shape, n), options_of(dtype, d)); });
}

gt_result gt_zeros(const int64_t *shape, int64_t n, int32_t dtype, gt_device d) {
  return guard_tensor([&] { return at::zeros(ints(shape, n), options_of(dtype, d)); });
}

gt_result gt_full(const int64_t *shape, int64_t n, double v, int32_t dtype, gt_device d) {
  return guard_tensor([&] { return at::full(ints(shape, n), v, options_of(dtype, d)); });
}

gt_result gt_arange(double start, double end, double step, int32_t dtype, gt_device d) {
  return guard_tensor([&] { return at::arange(start, end, step, options_of(dtype, d)); });
}

gt_result gt_linspace(double start, double end, int64_t steps, int32_t dtype, gt_device d) {
  return guard_tensor([&] { return at::linspace(start, end, steps, options_of(dtype, d)); });
}

gt_result gt_from_bytes(const void *data, int64_t bytes, const int64_t *shape, int64_t n, int32_t dtype) {
  return guard_tensor([&] {
    // Check first: a shape read from a damaged file may need terabytes.
    double want = static_cast<double>(at::elementSize(dtype_of(dtype)));
    for (int64_t size : ints(shape, n)) want *= static_cast<double>(size);
    TORCH_CHECK(want == static_cast<double>(bytes), "a tensor of shape ", ints(shape, n), " of ",
                dtype_of(dtype), " needs ", want, " bytes, not ", bytes);
    at::Tensor t = at::empty(ints(shape, n), at::TensorOptions().dtype(dtype_of(dtype)));
    if (bytes > 0) memcpy(t.data_ptr(), data, static_cast<size_t>(bytes));
    return t;
  });
}

gt_error gt_to_bytes(gt_tensor t, void *data, int64_t bytes) {
  return guard([&] {
    at::Tensor c = unwrap(t).detach().to(at::kCPU).contiguous();
    int64_t have = static_cast<int64_t>(c.nbytes());
    TORCH_CHECK(have == bytes, "a tensor of shape ", c.sizes(), " has ", have, " bytes, not ", bytes);
    if (bytes > 0) memcpy(data, c.data_ptr(), static_cast<size_t>(bytes));
  });
}

gt_result gt_empty_like(gt_tensor t) {
  return guard_tensor([&] { return at::empty_like(unwrap(t)); });
}

gt_result gt_zeros_like(gt_tensor t) {
  return guard_tensor([&] { return at::zeros_like(unwrap(t)); });
}

gt_result gt_clone(gt_tensor t) {
  return guard_tensor([&] { return unwrap(t).clone(); });
}

int32_t gt_dtype(gt_tensor t) { return static_cast<int32_t>(unwrap(t).scalar_type()); }

gt_device gt_tensor_device(gt_tensor t) {
  at::Device d = unwrap(t).device();
  return {static_cast<int32_t>(d.type()), static_cast<int32_t>(d.index())};
}

int64_t gt_dim(gt_tensor t) { return unwrap(t).dim(); }

int64_t gt_numel(gt_tensor t) { return unwrap(t).numel(); }

int64_t gt_element_size(gt_tensor t) { return static_cast<int64_t>(unwrap(t).element_size()); }

void gt_shape(gt_tensor t, int64_t *shape) {
  at::IntArrayRef s = unwrap(t).sizes();
  std::copy(s.begin(), s.end(), shape);
}

int32_t gt_is_channels_last(gt_tensor t) { return unwrap(t).is_contiguous(at::MemoryFormat::ChannelsLast); }

gt_error gt_item(gt_tensor t, double *out) {
  return guard([&] { *out = unwrap(t).item().toDouble(); });
}

gt_error gt_string(gt_tensor t, char **out) {
  return guard([&] {
    std::ostringstream s;
    s << unwrap(t);
    *out = strdup(s.str().c_str());
  });
}

gt_result gt_to(gt_tensor t, gt_device d, int32_t dtype, int32_t non_blocking) {
  return guard_tensor([&] { return unwrap(t).to(device_of(d), dtype_of(dtype), non_blocking != 0); });
}

gt_result gt_cast(gt_tensor t, int32_t dtype) {
  return guard_tensor([&] { return unwrap(t).to(dtype_of(dtype)); });
}

gt_error gt_cast_list(const gt_tensor *list, int64_t n, int32_t dtype, gt_tensor *out) {
  return guard([&] {
    std::vector<at::Tensor> casts = cast_list(unwrap_list(list, n), dtype_of(dtype));
    for (int64_t i = 0; i < n; ++i) out[i] = wrap(std::move(casts[static_cast<size_t>(i)]));
  });
}

gt_result gt_contiguous(gt_tensor t, int32_t channels_last) {
  return guard_tensor([&] {
    return unwrap(t).contiguous(channels_last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous);
  });
}

gt_result gt_pin_memory(gt_tensor t) {
  return guard_tensor([&] { return unwrap(t).pin_memory(); });
}

gt_error gt_copy_(gt_tensor dst, gt_tensor src, int32_t non_blocking) {
  return guard([&] { unwrap(dst).copy_(unwrap(src), non_blocking != 0); });
}
