#pragma once

#include "decompositions/decomposer.hpp"
#include "decompositions/mpo_size.hpp"
#include "decompositions/tt_svd.hpp"

namespace kronlab::decompositions {

/// W with the indices of each site beside each other: [(i_0, j_0), (i_1, j_1), ...], all elements.
Matrix<double> by_sites(Matrix<double> w, const SiteFactors& sites);

/// The operator whose cores are those of a train over the sites; rows: fewer than the factors make where they are padded.
Decomposition mpo_of(TensorTrain train, const SiteFactors& sites, Index rows);

/// Multiply-adds of the TT-SVD that gives cores of these shapes, roughly.
double tt_svd_cost(const std::vector<CoreShape>& shapes);

}  // namespace kronlab::decompositions
