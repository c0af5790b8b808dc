#include "decompositions/tt_svd.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "framework/linalg/svd.hpp"

namespace kronlab::decompositions {
namespace {

double squared_norm(const Matrix<double>& a) {
  double sum = 0;
  for (Index i = 0; i < a.size(); ++i) sum += a.data()[i] * a.data()[i];
  return sum;
}

/// Products of extents cannot overflow where it does not matter how large they are.
Index product_up_to(Index a, Index b, Index most) { return a > most / b ? most : a * b; }

Matrix<double> reshaped(const Matrix<double>& a, Index rows, Index cols) {
  Matrix<double> result(rows, cols);
  std::copy_n(a.data(), a.size(), result.data());
  return result;
}

/// How many leading singular values leave at most `may_cut` of a squared norm.
Index needed(const std::vector<double>& singular_values, double norm, double may_cut, Index most) {
  double rest = norm;
  for (Index r = 0; r < most; ++r) {
    if (rest <= may_cut) return std::max<Index>(r, 1);
    const double s = singular_values[static_cast<std::size_t>(r)];
    rest -= s * s;
  }
  return most;
}

/// Square roots of the singular values of a bond; of those that are nothing but rounding, 1.
std::vector<double> roots(const std::vector<double>& singular_values, Index bond) {
  std::vector<double> result;
  for (Index a = 0; a < bond; ++a) {
    const double s = singular_values[static_cast<std::size_t>(a)];
    result.push_back(s > 1e-8 * singular_values.front() ? std::sqrt(s) : 1.0);
  }
  return result;
}

}  // namespace

std::vector<Index> bonds_of(const std::vector<Index>& extents, Index bond_dimension) {
  std::vector<Index> bonds;
  Index left = 1;
  for (std::size_t k = 0; k + 1 < extents.size(); ++k) bonds.push_back(left = product_up_to(left, extents[k], bond_dimension));
  Index right = 1;
  for (std::size_t k = extents.size(); --k > 0;) {
    right = product_up_to(right, extents[k], bond_dimension);
    bonds[k - 1] = std::min(bonds[k - 1], right);
  }
  return bonds;
}

TensorTrain tt_svd(Matrix<double> rest, const std::vector<Index>& extents, const BondRule& rule) {
  const auto bonds = bonds_of(extents, rule.bond_dimension);
  const double all = squared_norm(rest);
  const double may_cut = bonds.empty() ? 0.0 : rule.truncation_error * rule.truncation_error * all / static_cast<double>(bonds.size());
  TensorTrain train;
  std::vector<double> before{1.0};  // roots on the bond to the left
  const auto add_core = [&](Matrix<double> core, const std::vector<double>& behind) {
    const Index extent = core.rows() / static_cast<Index>(before.size());
    for (Index i = 0; i < core.rows(); ++i) {
      for (Index b = 0; b < core.cols(); ++b) core(i, b) *= behind[static_cast<std::size_t>(b)] / before[static_cast<std::size_t>(i / extent)];
    }
    train.cores.push_back(std::move(core));
  };
  double most_cut = -1;
  for (std::size_t k = 0; k < bonds.size(); ++k) {
    const Index rows = static_cast<Index>(before.size()) * extents[k], cols = rest.size() / rows;
    rest = reshaped(rest, rows, cols);
    const double norm = squared_norm(rest);
    auto svd = linalg::truncated_svd(rest, std::min({bonds[k], rows, cols}));
    const Index bond = needed(svd.singular_values, norm, may_cut, svd.vt.rows());
    double kept = 0;
    for (Index a = 0; a < bond; ++a) kept += svd.singular_values[static_cast<std::size_t>(a)] * svd.singular_values[static_cast<std::size_t>(a)];
    const double cut = std::max(norm - kept, 0.0);
    train.discarded_weights.push_back(all > 0 ? cut / all : 0.0);
    if (cut > most_cut) most_cut = cut, train.spectrum = svd.singular_values;
    Matrix<double> core(rows, bond);
    convert(ConstTensorView(std::as_const(svd.u).view()).block(0, 0, rows, bond), core.view());
    const auto behind = roots(svd.singular_values, bond);
    add_core(std::move(core), behind);
    before = behind;
    rest = Matrix<double>(bond, cols);
    for (Index a = 0; a < bond; ++a) {
      for (Index j = 0; j < cols; ++j) rest(a, j) = svd.singular_values[static_cast<std::size_t>(a)] * svd.vt(a, j);
    }
  }
  add_core(reshaped(rest, rest.size(), 1), {1.0});
  return train;
}

}  // namespace kronlab::decompositions
