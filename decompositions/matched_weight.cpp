#include "decompositions/matched_weight.hpp"

#include <utility>

#include "decompositions/moment_scales.hpp"
#include "framework/linalg/gemm.hpp"
#include "framework/linalg/svd.hpp"

namespace kronlab::decompositions {

Tensor matched_weight(ConstTensorView weight, const LayerStatistics& statistics, double damping) {
  const auto& c = statistics.input_moments;
  const auto& reference = statistics.reference_moments;
  KRONLAB_EXPECTS(c.rows() == weight.cols && c.cols() == weight.cols && reference.rows() == weight.cols && reference.cols() == weight.cols,
                  "a weight [{}, {}] with input moments [{}, {}] and reference moments [{}, {}]", weight.rows, weight.cols, c.rows(),
                  c.cols(), reference.rows(), reference.cols());
  const double floor = damping * mean_diagonal(c);
  auto damped = to_matrix<double>(c.view()), target = to_matrix<double>(reference.view());
  for (Index i = 0; i < c.rows(); ++i) damped(i, i) += floor, target(i, i) += floor;
  const auto w = to_matrix<double>(weight);
  Matrix<double> matched(w.rows(), w.cols());
  linalg::gemm(linalg::Transpose::no, w.view(), linalg::Transpose::no, std::as_const(target).view(), 0.0, matched.view());
  linalg::solve_right_positive(damped, matched);
  Tensor result(DType::f32, {w.rows(), w.cols()});
  convert(std::as_const(matched).view(), result.view());
  return result;
}

}  // namespace kronlab::decompositions
