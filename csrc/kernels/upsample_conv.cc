// Folded upsampling.
#include "upsample_conv.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <array>
#include <vector>

#include "simd.h"

namespace iddpm {
namespace {

// ---- weights

// For every tap of the result, the taps whose sum it is.
using Taps = std::vector<std::vector<int64_t>>;

// For each of the four taps per axis, the range first to last of the three taps that it sums.
constexpr int64_t kFirst[4] = {2, 1, 0, 0}, kLast[4] = {2, 2, 1, 0};

Taps wide_taps() {
  Taps taps(16);
  for (int64_t a = 0; a < 16; ++a) {
    for (int64_t i = kFirst[a / 4]; i <= kLast[a / 4]; ++i) {
      for (int64_t j = kFirst[a % 4]; j <= kLast[a % 4]; ++j) taps[a].push_back(3 * i + j);
    }
  }
  return taps;
}

Taps transposed(const Taps &taps, size_t n) {
  Taps other(n);
  for (size_t a = 0; a < taps.size(); ++a) {
    for (int64_t k : taps[a]) other[k].push_back(static_cast<int64_t>(a));
  }
  return other;
}

// Channels-last weights: [rows, taps, columns] in memory.
template <class T>
struct Weights {
  T *data;
  int64_t rows, taps, columns;
  T *at(int64_t row, int64_t tap, int64_t column) const { return data + (row * taps + tap) * columns + column; }
};

constexpr int64_t kBlock = 32;

// One block of `to`: sums of taps of `from`, with rows and columns exchanged.
template <class To, class From>
void regroup_block(const Weights<From> &from, const Weights<To> &to, const Taps &taps, int64_t row, int64_t column) {
  int64_t rows = std::min(kBlock, to.rows - row), columns = std::min(kBlock, to.columns - column);
  float sum[kBlock][kBlock];
  for (int64_t a = 0; a < to.taps; ++a) {
    std::fill(&sum[0][0], &sum[0][0] + kBlock * kBlock, 0.0f);
    for (int64_t k : taps[a]) {
      for (int64_t c = 0; c < columns; ++c) {
        const From *p = from.at(column + c, k, row);
        for (int64_t r = 0; r < rows; ++r) sum[c][r] += load(p + r);
      }
    }
    for (int64_t r = 0; r < rows; ++r) {
      To *p = to.at(row + r, a, column);
      for (int64_t c = 0; c < columns; ++c) store(p + c, sum[c][r]);
    }
  }
}

template <class To, class From>
void regroup(const Weights<From> &from, const Weights<To> &to, const Taps &taps) {
  at::parallel_for(0, (to.rows + kBlock - 1) / kBlock, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      for (int64_t column = 0; column < to.columns; column += kBlock) regroup_block(from, to, taps, b * kBlock, column);
    }
  });
}

template <class T>
Weights<T> view(at::Tensor &w) {
  return {w.data_ptr<T>(), w.size(0), w.size(2) * w.size(3), w.size(1)};
}

at::Tensor empty(int64_t rows, int64_t columns, int64_t side, at::ScalarType dtype) {
  return at::empty({rows, columns, side, side}, at::TensorOptions(dtype).memory_format(at::MemoryFormat::ChannelsLast));
}

at::Tensor widen(at::Tensor w, at::ScalarType dtype) {
  at::Tensor wide = empty(w.size(1), w.size(0), 4, dtype);
  dtype == at::kFloat ? regroup(view<float>(w), view<float>(wide), wide_taps())
                      : regroup(view<float>(w), view<at::BFloat16>(wide), wide_taps());
  return wide;
}

// The transpose of widen.
at::Tensor fold(at::Tensor wide) {
  at::Tensor w = empty(wide.size(1), wide.size(0), 3, at::kFloat);
  Taps taps = transposed(wide_taps(), 9);
  wide.scalar_type() == at::kFloat ? regroup(view<float>(wide), view<float>(w), taps)
                                   : regroup(view<at::BFloat16>(wide), view<float>(w), taps);
  return w;
}

// ---- the autograd nodes

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

class UpsampleWeight : public torch::autograd::Function<UpsampleWeight> {
 public:
  static Variable forward(AutogradContext *, const Variable &w, at::ScalarType dtype) {
    return widen(w.contiguous(at::MemoryFormat::ChannelsLast), dtype);
  }

  static variable_list backward(AutogradContext *, variable_list grads) {
    return {fold(grads[0].contiguous(at::MemoryFormat::ChannelsLast)), Variable()};
  }
};

class UpsampleConv : public torch::autograd::Function<UpsampleConv> {
 public:
  static Variable forward(AutogradContext *ctx, const Variable &x, const Variable &wide, const Variable &b) {
    ctx->save_for_backward({x, wide});
    return at::conv_transpose2d(x, wide, b, /*stride=*/2, /*padding=*/1);
  }

  static variable_list backward(AutogradContext *ctx, variable_list grads) {
    variable_list saved = ctx->get_saved_variables();
    at::Tensor dy = grads[0].contiguous(at::MemoryFormat::ChannelsLast);
    std::array<bool, 3> wanted{ctx->needs_input_grad(0), ctx->needs_input_grad(1), false};
    // oneDNN's bfloat16 kernel for AMX (libtorch 2.11) reads out of bounds if x is one
    // pixel wide and several high; transposed, x is safe.
    bool upright = saved[0].size(3) > 1;
    auto side = [&](const at::Tensor &t) {
      return upright || !t.defined() ? t : t.transpose(2, 3).contiguous(at::MemoryFormat::ChannelsLast);
    };
    auto [dx, dwide, none] = at::convolution_backward(side(dy), side(saved[0]), side(saved[1]), std::nullopt, {2, 2}, {1, 1},
                                                      {1, 1}, /*transposed=*/true, {0, 0}, /*groups=*/1, wanted);
    return {side(dx), side(dwide), dy.permute({0, 2, 3, 1}).reshape({-1, dy.size(1)}).sum(0)};
  }
};

}  // namespace

at::Tensor upsample_weight(const at::Tensor &w, at::ScalarType dtype) {
  TORCH_CHECK(w.dim() == 4 && w.size(2) == 3 && w.size(3) == 3, "the weight of a convolution after upsampling is [O, I, 3, 3], not ", w.sizes());
  TORCH_CHECK(w.is_cpu() && w.scalar_type() == at::kFloat, "the weight is ", w.toString(), ", not float32 on the CPU");
  TORCH_CHECK(dtype == at::kFloat || dtype == at::kBFloat16, "the weight can be folded to float32 and bfloat16, not ", dtype);
  return UpsampleWeight::apply(w, dtype);
}

at::Tensor upsample_conv2d(const at::Tensor &x, const at::Tensor &wide, const at::Tensor &b) {
  TORCH_CHECK(x.dim() == 4 && wide.dim() == 4 && wide.size(2) == 4 && wide.size(3) == 4 && wide.size(0) == x.size(1) &&
                  b.dim() == 1 && b.size(0) == wide.size(1),
              "a folded weight ", wide.sizes(), " and bias ", b.sizes(), " do not fit ", x.sizes());
  return UpsampleConv::apply(x, wide, b);
}

}  // namespace iddpm
