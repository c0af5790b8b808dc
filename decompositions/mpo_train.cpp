#include "decompositions/mpo_train.hpp"

#include <algorithm>
#include <utility>

#include "decompositions/mpo.hpp"
#include "framework/kernels/tensor_axes.hpp"

namespace kronlab::decompositions {

Matrix<double> by_sites(Matrix<double> w, const SiteFactors& sites) {
  Index outer = 1, rows = w.rows(), cols = w.cols();
  for (std::size_t k = 0; k + 1 < sites.rows.size(); ++k) {
    rows /= sites.rows[k], cols /= sites.cols[k];
    outer *= sites.rows[k];
    // [outer, i_k | rows behind, j_k | columns behind]
    Matrix<double> moved(outer, w.size() / outer);
    kernels::swap_axes({rows, sites.cols[k], cols}, ConstMatrixView<double>(std::as_const(w).data(), outer, w.size() / outer), moved.view());
    outer *= sites.cols[k];
    w = std::move(moved);
  }
  return w;
}

Decomposition mpo_of(TensorTrain train, const SiteFactors& sites, Index rows) {
  std::vector<Tensor> cores;
  for (std::size_t k = 0; k < train.cores.size(); ++k) {
    const auto& core = train.cores[k];
    const Index left = core.rows() / (sites.rows[k] * sites.cols[k]);
    convert(core.view(), cores.emplace_back(DType::f32, std::vector<Index>{left, sites.rows[k], sites.cols[k], core.cols()}).view());
  }
  Decomposition result;
  result.factorization = std::make_unique<Mpo>(std::move(cores), rows);
  result.spectrum = std::move(train.spectrum);
  result.discarded_weights = std::move(train.discarded_weights);
  return result;
}

double tt_svd_cost(const std::vector<CoreShape>& shapes) {
  double behind = 1, cost = 0;
  for (const auto& s : shapes) behind *= static_cast<double>(s.rows * s.cols);
  for (std::size_t k = 0; k + 1 < shapes.size(); ++k) {
    const auto left = static_cast<double>(shapes[k].left * shapes[k].rows * shapes[k].cols);
    behind /= static_cast<double>(shapes[k].rows * shapes[k].cols);
    cost += 4 * left * behind * std::min(left, behind);
  }
  return cost;
}

}  // namespace kronlab::decompositions
