#include "experiments/pipeline/layer_speed.hpp"

#include <algorithm>
#include <utility>

#include "experiments/pipeline/rounds.hpp"
#include "framework/base/random.hpp"

namespace kronlab::experiments {
namespace {

/// Numbers between -1 and 1: [rows, cols] in one piece.
Tensor some_activations(DType type, Index rows, Index cols) {
  Tensor values(DType::f32, {rows, cols});
  RandomStream random(1);
  for (float& value : values.values<float>()) value = static_cast<float>(2 * random.uniform() - 1);
  if (type == DType::f32) return values;
  Tensor result = Tensor::uninitialised(type, {rows, cols});
  convert(std::as_const(values).view(), result.view());
  return result;
}

}  // namespace

std::vector<double> apply_seconds(std::span<const linalg::LinearOperator* const> operators, Index tokens,
                                  model::Precision precision, double budget_s) {
  KRONLAB_EXPECTS(tokens > 0, "products with {} tokens", tokens);
  const DType type = model::activation_type(precision);
  Index most_cols = 1, most_rows = 1;
  for (const auto* weight : operators)
    most_cols = std::max(most_cols, weight->cols()), most_rows = std::max(most_rows, weight->rows());
  const Tensor inputs = some_activations(type, tokens, most_cols);
  Tensor outputs = Tensor::uninitialised(type, {tokens, most_rows});
  std::vector<std::function<void()>> products;
  for (const auto* weight : operators) {
    products.push_back([&, weight] {
      weight->apply(inputs.view().block(0, 0, tokens, weight->cols()),
                    outputs.view().block(0, 0, tokens, weight->rows()));
    });
  }
  return median_seconds(products, budget_s);
}

double apply_seconds(const linalg::LinearOperator& weight, Index tokens, model::Precision precision, double budget_s) {
  const linalg::LinearOperator* const only[] = {&weight};
  return apply_seconds(only, tokens, precision, budget_s).front();
}

}  // namespace kronlab::experiments
