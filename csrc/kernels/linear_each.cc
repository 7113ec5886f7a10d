#include "linear_each.h"

#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

namespace iddpm {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

// Splits t along a dimension into parts of the given sizes.
variable_list split(const at::Tensor &t, const std::vector<int64_t> &rows, int64_t dim) {
  variable_list parts;
  int64_t first = 0;
  for (int64_t n : rows) {
    parts.push_back(t.narrow(dim, first, n));
    first += n;
  }
  return parts;
}

class LinearEach : public torch::autograd::Function<LinearEach> {
 public:
  // `all` contains the weights and then as many biases.
  static variable_list forward(AutogradContext *ctx, const Variable &x, at::TensorList all) {
    at::TensorList weights = all.slice(0, all.size() / 2), biases = all.slice(all.size() / 2);
    std::vector<int64_t> rows;
    for (const at::Tensor &w : weights) rows.push_back(w.size(0));
    at::Tensor whole = at::cat(weights);
    ctx->set_materialize_grads(false);
    ctx->save_for_backward({x, whole});
    ctx->saved_data["rows"] = rows;
    return split(at::addmm(at::cat(biases), x, whole.t()), rows, 1);
  }

  static variable_list backward(AutogradContext *ctx, variable_list grads) {
    variable_list saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &whole = saved[1];
    std::vector<int64_t> rows = ctx->saved_data["rows"].toIntVector();
    for (size_t i = 0; i < grads.size(); ++i) {
      if (!grads[i].defined()) grads[i] = at::zeros({x.size(0), rows[i]}, x.options());
    }
    at::Tensor dy = at::cat(grads, 1);
    variable_list result{at::mm(dy, whole)}, weights = split(at::mm(dy.t(), x), rows, 0), biases = split(dy.sum(0), rows, 0);
    std::copy(weights.begin(), weights.end(), std::back_inserter(result));
    std::copy(biases.begin(), biases.end(), std::back_inserter(result));
    return result;
  }
};

}  // namespace

std::vector<at::Tensor> linear_each(const at::Tensor &x, const std::vector<at::Tensor> &weights,
                                    const std::vector<at::Tensor> &biases) {
  TORCH_CHECK(!weights.empty() && weights.size() == biases.size(), weights.size(), " weights do not match ", biases.size(), " biases");
  TORCH_CHECK(x.dim() == 2, "linear layers of one input need [N, I], not ", x.sizes());
  for (size_t i = 0; i < weights.size(); ++i) {
    TORCH_CHECK(weights[i].dim() == 2 && weights[i].size(1) == x.size(1) && biases[i].sizes() == at::IntArrayRef(weights[i].size(0)),
                "weight ", i, " ", weights[i].sizes(), " and bias ", biases[i].sizes(), " do not fit ", x.sizes());
  }
  std::vector<at::Tensor> all = weights;
  all.insert(all.end(), biases.begin(), biases.end());
  return LinearEach::apply(x, at::TensorList(all));
}

}  // namespace iddpm
