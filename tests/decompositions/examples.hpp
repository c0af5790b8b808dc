#pragma once

#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include "decompositions/kronecker_sum.hpp"
#include "decompositions/monarch.hpp"
#include "decompositions/mpo.hpp"
#include "decompositions/permuted.hpp"
#include "decompositions/quantised_dense.hpp"
#include "decompositions/scaled.hpp"
#include "decompositions/sparse.hpp"
#include "decompositions/sum.hpp"
#include "decompositions/token_trains.hpp"
#include "tests/support/random_matrix.hpp"

namespace kronlab::testing {

inline std::unique_ptr<decompositions::KroneckerSum> random_kronecker(Index terms, Index m1, Index n1, Index m2,
                                                                      Index n2, RandomStream random) {
  return std::make_unique<decompositions::KroneckerSum>(
      std::make_unique<decompositions::Dense>(random_tensor({m1, terms * n1}, random.child(0))),
      random_tensor({terms, m2, n2}, random.child(1)));
}

/// A random weight of which num_kept entries stay, or those that an n:m pattern keeps.
inline std::unique_ptr<decompositions::Sparse> random_sparse(Index rows, Index cols, decompositions::SparsePattern pattern, Index num_kept,
                                                             RandomStream random) {
  using decompositions::KeptEntries;
  std::vector<std::uint8_t> kept(static_cast<std::size_t>(rows * cols));
  if (pattern.m == 0) {
    const auto order = random.child(0).permutation(rows * cols);
    for (Index i = 0; i < num_kept; ++i) kept[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])] = 1;
  } else {
    for (Index group = 0; group < rows * cols / pattern.m; ++group) {
      const auto order = random.child(0).child(static_cast<std::uint64_t>(group)).permutation(pattern.m);
      for (Index i = 0; i < pattern.n; ++i) kept[static_cast<std::size_t>(group * pattern.m + order[static_cast<std::size_t>(i)])] = 1;
    }
  }
  return std::make_unique<decompositions::Sparse>(random_tensor({rows, cols}, random.child(1)).view(),
                                                  std::make_shared<const KeptEntries>(rows, cols, pattern, kept));
}

/// Random codes, zeros and, in half precision, scales.
inline decompositions::QuantisedCodes random_codes(Index rows, Index cols, decompositions::QuantisationGrid grid, RandomStream random) {
  decompositions::QuantisedCodes content;
  content.rows = rows, content.cols = cols, content.grid = grid;
  const Index num_scales = rows * grid.num_groups(cols);
  auto codes = random.child(0), zeros = random.child(1), scales = random.child(2);
  const Index levels = grid.num_levels();
  for (Index i = 0; i < rows * cols; ++i) content.codes.push_back(static_cast<std::uint8_t>(codes.below(levels)));
  for (Index i = 0; i < (grid.symmetric ? 0 : num_scales); ++i) content.zeros.push_back(static_cast<std::uint8_t>(zeros.below(levels)));
  content.scales = Tensor(DType::f32, {rows, grid.num_groups(cols)});
  for (float& scale : content.scales.values<float>()) scale = decompositions::rounded_scale(0.1 + std::abs(scales.normal()));
  return content;
}

/// Cores of these shapes. rows: fewer than the cores have, or 0 for all
inline std::unique_ptr<decompositions::Mpo> random_mpo(const std::vector<decompositions::CoreShape>& shapes, Index rows, RandomStream random) {
  std::vector<Tensor> cores;
  Index all = 1;
  for (const auto& s : shapes) {
    cores.push_back(random_tensor({s.left, s.rows, s.cols, s.right}, random.child(cores.size())));
    all *= s.rows;
  }
  return std::make_unique<decompositions::Mpo>(std::move(cores), rows > 0 ? rows : all);
}

/// Every kind of factorization, small: [12, 20] of rows and columns.
inline std::vector<std::unique_ptr<decompositions::Factorization>> examples() {
  using namespace decompositions;
  const RandomStream random(7);
  std::vector<std::unique_ptr<Factorization>> all;
  all.push_back(std::make_unique<Dense>(random_tensor({12, 20}, random.child(1))));
  all.push_back(
      std::make_unique<LowRank>(random_tensor({12, 3}, random.child(2)), random_tensor({3, 20}, random.child(3))));
  all.push_back(random_kronecker(2, 6, 5, 2, 4, random.child(4)));
  all.push_back(random_kronecker(3, 3, 20, 4, 1, random.child(5)));   // backward through the whole gradient
  all.push_back(random_kronecker(2, 2, 10, 6, 2, random.child(51)));  // left factors first
  all.push_back(random_kronecker(1, 12, 10, 1, 2, random.child(6)));
  all.push_back(random_kronecker(2, 2, 2, 6, 10, random.child(61)));
  all.push_back(std::make_unique<Permuted>(random_kronecker(2, 6, 5, 2, 4, random.child(7)),
                                           random.child(8).permutation(12), random.child(9).permutation(20)));
  all.push_back(std::make_unique<Scaled>(
      std::make_unique<Permuted>(random_kronecker(2, 6, 5, 2, 4, random.child(17)), random.child(18).permutation(12),
                                 random.child(19).permutation(20)),
      random_tensor({12}, random.child(20)), random_tensor({20}, random.child(21))));
  all.push_back(std::make_unique<Scaled>(random_kronecker(2, 6, 5, 2, 4, random.child(22)), Tensor(), random_tensor({20}, random.child(23))));
  all.push_back(std::make_unique<Scaled>(std::make_unique<Dense>(random_tensor({12, 20}, random.child(24))), random_tensor({12}, random.child(25)), Tensor()));
  all.push_back(random_sparse(12, 20, {}, 120, random.child(40)));
  all.push_back(random_sparse(12, 20, {}, 2, random.child(41)));
  all.push_back(random_sparse(12, 20, {2, 4}, 0, random.child(42)));
  all.push_back(random_sparse(12, 20, {1, 5}, 0, random.child(43)));  // by positions
  all.push_back(std::make_unique<QuantisedDense>(random_codes(12, 20, {.bits = 8, .group = 0, .symmetric = true}, random.child(44))));
  all.push_back(std::make_unique<QuantisedDense>(random_codes(12, 20, {.bits = 4, .group = 16}, random.child(45))));
  all.push_back(std::make_unique<QuantisedDense>(random_codes(12, 20, {.bits = 2, .group = 5, .symmetric = true}, random.child(46))));
  auto ordered = random_codes(12, 20, {.bits = 3, .group = 6}, random.child(47));
  ordered.order = random.child(48).permutation(20);
  all.push_back(std::make_unique<QuantisedDense>(std::move(ordered)));
  auto few = random_codes(12, 20, {.bits = 4, .group = 8}, random.child(49));
  few.kept = std::make_shared<const KeptEntries>(random_sparse(12, 20, {2, 4}, 0, random.child(50))->kept());
  all.push_back(std::make_unique<QuantisedDense>(std::move(few)));
  all.push_back(random_mpo({{1, 3, 5, 2}, {2, 4, 4, 1}}, 0, random.child(34)));
  all.push_back(random_mpo({{1, 3, 2, 1}, {1, 2, 5, 2}, {2, 2, 2, 1}}, 0, random.child(35)));
  all.push_back(random_mpo({{1, 2, 5, 4}, {4, 3, 2, 4}, {4, 3, 2, 1}}, 12, random.child(36)));  // padded by 6 rows
  all.push_back(random_mpo({{1, 2, 1, 1}, {1, 2, 5, 3}, {3, 1, 4, 3}, {3, 3, 1, 1}}, 0, random.child(37)));
  all.push_back(random_mpo({{1, 12, 20, 1}}, 0, random.child(38)));
  all.push_back(std::make_unique<Monarch>(random_tensor({3, 4, 10}, random.child(40)), random_tensor({5, 6, 4}, random.child(41))));
  all.push_back(std::make_unique<Monarch>(random_tensor({2, 6, 4}, random.child(42)), random_tensor({4, 2, 5}, random.child(43))));
  std::vector<Tensor> trains;
  for (const auto& [left, extent, right] : {std::tuple<Index, Index, Index>{1, 5, 3}, {3, 2, 2}, {2, 2, 1}})
    trains.push_back(random_tensor({12, left, extent, right}, random.child(39).child(trains.size())));
  all.push_back(std::make_unique<TokenTrains>(std::move(trains)));
  std::vector<std::unique_ptr<Factorization>> terms;
  terms.push_back(std::make_unique<LowRank>(random_tensor({12, 2}, random.child(26)), random_tensor({2, 20}, random.child(27))));
  terms.push_back(std::make_unique<Scaled>(
      std::make_unique<Permuted>(random_kronecker(2, 6, 5, 2, 4, random.child(28)), random.child(29).permutation(12), random.child(30).permutation(20)),
      random_tensor({12}, random.child(31)), random_tensor({20}, random.child(32))));
  terms.push_back(random_kronecker(1, 12, 10, 1, 2, random.child(33)));
  all.push_back(std::make_unique<Sum>(std::move(terms)));
  auto nested_left = std::make_unique<Permuted>(random_kronecker(1, 12, 5, 1, 2, random.child(10)),
                                                std::vector<Index>{}, random.child(11).permutation(10));
  all.push_back(std::make_unique<KroneckerSum>(std::move(nested_left), random_tensor({1, 1, 2}, random.child(12))));
  auto low_rank_left =
      std::make_unique<LowRank>(random_tensor({4, 3}, random.child(13)), random_tensor({3, 10}, random.child(14)));
  auto sum = std::make_unique<KroneckerSum>(std::move(low_rank_left), random_tensor({2, 3, 4}, random.child(15)));
  all.push_back(std::make_unique<Permuted>(std::move(sum), random.child(16).permutation(12), std::vector<Index>{}));
  return all;
}

}  // namespace kronlab::testing
