#include "decompositions/permutation/grouped_rows.hpp"

#include <utility>

#include "framework/linalg/gemm.hpp"

namespace kronlab::decompositions {

Matrix<float> products_with_rows(const Matrix<double>& weight, Axis axis, const Grouping& grouping,
                                 const std::function<void(std::span<double> row)>& structure) {
  const Index rows = weight.rows(), cols = weight.cols();
  const auto at = [](const std::vector<Index>& order, Index i) { return order[static_cast<std::size_t>(i)]; };
  Matrix<double> elements(rows, cols), fit(rows, cols);  // the other axis in its order, and structured with both
  for (Index i = 0; i < rows; ++i) {
    for (Index j = 0; j < cols; ++j) {
      elements(i, j) = axis == Axis::columns ? weight(at(grouping.rows, i), j) : weight(i, at(grouping.columns, j));
      fit(i, j) = weight(at(grouping.rows, i), at(grouping.columns, j));
    }
    structure(fit.row(i));
  }
  const auto by_columns = axis == Axis::columns ? linalg::Transpose::yes : linalg::Transpose::no;
  const auto by_rows = axis == Axis::columns ? linalg::Transpose::no : linalg::Transpose::yes;
  const Index size = axis == Axis::columns ? cols : rows;
  Matrix<double> products(size, size);
  linalg::gemm(by_columns, std::as_const(elements).view(), by_rows, std::as_const(fit).view(), 0.0, products.view());
  return to_matrix<float>(std::as_const(products).view());
}

std::vector<double> square_norms(const Matrix<double>& weight, Axis axis) {
  std::vector<double> sums(static_cast<std::size_t>(axis == Axis::rows ? weight.rows() : weight.cols()));
  for (Index i = 0; i < weight.rows(); ++i) {
    for (Index j = 0; j < weight.cols(); ++j)
      sums[static_cast<std::size_t>(axis == Axis::rows ? i : j)] += weight(i, j) * weight(i, j);
  }
  return sums;
}

}  // namespace kronlab::decompositions
