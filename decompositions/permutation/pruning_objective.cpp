#include "decompositions/permutation/pruning_objective.hpp"

#include <algorithm>
#include <functional>
#include <limits>
#include <numeric>
#include <utility>

#include "decompositions/permutation/grouped_rows.hpp"
#include "decompositions/pruning_mask.hpp"

namespace kronlab::decompositions {
namespace {

class PruningMoves final : public AxisMoves {
 public:
  PruningMoves(const PruningObjective& objective, const Grouping& grouping)
      : AxisMoves(objective.size(Axis::columns), objective.pattern().m),
        n_(objective.pattern().n),
        rows_(objective.size(Axis::rows)),
        energy_(objective.energy()),
        squares_(size(), rows_),
        thresholds_(size(), rows_),
        others_(static_cast<std::size_t>(size())),
        kept_of_(static_cast<std::size_t>(num_groups())),
        gains_(static_cast<std::size_t>(size())) {
    const auto& weight = objective.weight();
    for (Index r = 0; r < rows_; ++r) {
      for (Index j = 0; j < size(); ++j) squares_(j, r) = static_cast<float>(weight(r, j) * weight(r, j));
    }
    restart(grouping);
  }

  void restart(const Grouping& grouping) override {
    set_order(grouping.columns);
    refresh();
  }

  void refresh() override {
#pragma omp parallel for schedule(static)
    for (Index g = 0; g < num_groups(); ++g) fit(g);
    set_kept(std::accumulate(kept_of_.begin(), kept_of_.end(), 0.0));
  }

  std::span<const float> gains(Index element) override {
    const Index own = place_of(element) % num_groups();
#pragma omp parallel for schedule(static) if (size() * rows_ > 1 << 16)
    for (Index place = 0; place < size(); ++place) {
      const Index g = place % num_groups(), other = element_at(place);
      gains_[static_cast<std::size_t>(place)] = g == own
                                                    ? 0.0F
                                                    : static_cast<float>(with(other, element) - kept_of_[index(own)] +
                                                                         with(element, other) - kept_of_[index(g)]);
    }
    return gains_;
  }

  void worths(Index position, MatrixView<float> worth) override {
    for (Index i = 0; i < num_groups(); ++i) {
      const Index element = element_at(position * num_groups() + i);
      for (Index g = 0; g < num_groups(); ++g)
        worth(i, g) = static_cast<float>(with(element, element_at(position * num_groups() + g)));
    }
  }

  void pair_worths(Index i, std::span<float> worth) override {
    for (Index j = 0; j < size(); ++j) {
      double sum = 0;
      for (Index r = 0; r < rows_; ++r) sum += static_cast<double>(std::max(squares_(i, r), squares_(j, r)));
      worth[static_cast<std::size_t>(j)] = static_cast<float>(sum);
    }
  }

  float noise() const override {
    return 32 * std::numeric_limits<float>::epsilon() * static_cast<float>(energy_) / static_cast<float>(num_groups());
  }

 private:
  static std::size_t index(Index i) { return static_cast<std::size_t>(i); }

  /// What the group of `leaving` keeps with `element` in its place.
  double with(Index element, Index leaving) const {
    const float *x = squares_.row(element).data(), *t = thresholds_.row(leaving).data();
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (Index r = 0; r < rows_; ++r) sum += std::max(x[r] - t[r], 0.0F);
    return others_[index(leaving)] + static_cast<double>(sum);
  }

  /// Thresholds and sums of a group anew.
  void fit(Index g) {
    const Index m = group();
    std::vector<Index> columns;
    for (Index position = 0; position < m; ++position) columns.push_back(element_at(position * num_groups() + g));
    for (const Index j : columns) others_[index(j)] = 0;
    double kept = 0;
    std::vector<float> sorted(index(m));
    for (Index r = 0; r < rows_; ++r) {
      for (Index k = 0; k < m; ++k) sorted[index(k)] = squares_(columns[index(k)], r);
      std::ranges::sort(sorted, std::greater{});
      const float last = sorted[index(n_ - 1)], next = sorted[index(n_)];
      const double sum = std::accumulate(sorted.begin(), sorted.begin() + n_, 0.0);
      kept += sum;
      for (const Index j : columns) {
        // Without one of the n largest, the next one is among them.
        const float own = squares_(j, r);
        const bool is_kept = own >= last;
        thresholds_(j, r) = is_kept ? next : last;
        others_[index(j)] += is_kept ? sum - static_cast<double>(own) + static_cast<double>(next) : sum;
      }
    }
    kept_of_[index(g)] = kept;
  }

  void swapped(Index element, Index other) override {
    fit(place_of(element) % num_groups());
    fit(place_of(other) % num_groups());
  }
  void reassigned(Index) override { refresh(); }

  Index n_, rows_;
  double energy_;
  Matrix<float> squares_;        ///< [columns, rows]
  Matrix<float> thresholds_;     ///< t of each column's group without it: [columns, rows]
  std::vector<double> others_;   ///< T of each column's group without it
  std::vector<double> kept_of_;  ///< by group
  std::vector<float> gains_;
};

}  // namespace

PruningObjective::PruningObjective(ConstMatrixView<double> weight, const SparsePattern& pattern)
    : weight_(to_matrix<double>(weight)), pattern_(pattern) {
  KRONLAB_EXPECTS(pattern.n >= 1 && pattern.n < pattern.m && weight.cols % pattern.m == 0, "{}:{} of {} columns",
                  pattern.n, pattern.m, weight.cols);
  for (Index i = 0; i < weight_.size(); ++i) energy_ += weight_.data()[i] * weight_.data()[i];
}

double PruningObjective::value(const Grouping& grouping) const {
  if (!(energy_ > 0)) return 1.0;
  const Index m = pattern_.m;
  std::vector<double> squares(static_cast<std::size_t>(m));
  double kept = 0;
  for (Index i = 0; i < weight_.rows(); ++i) {
    for (Index first = 0; first < weight_.cols(); first += m) {
      for (Index k = 0; k < m; ++k) {
        const double w = weight_(i, grouping.columns[static_cast<std::size_t>(first + k)]);
        squares[static_cast<std::size_t>(k)] = w * w;
      }
      std::ranges::sort(squares, std::greater{});
      kept += std::accumulate(squares.begin(), squares.begin() + pattern_.n, 0.0);
    }
  }
  return kept / energy_;
}

std::unique_ptr<AxisMoves> PruningObjective::moves(Axis axis, const Grouping& grouping) const {
  KRONLAB_EXPECTS(axis == Axis::columns, "moves of {} rows, whose order is worth nothing", weight_.rows());
  return std::make_unique<PruningMoves>(*this, grouping);
}

std::vector<double> PruningObjective::energies(Axis axis) const { return square_norms(weight_, axis); }

Matrix<float> PruningObjective::products_with_fit(Axis axis, const Grouping& grouping) const {
  const auto m = static_cast<std::size_t>(pattern_.m);
  std::vector<double> scores(m);
  std::vector<std::uint8_t> mask(m);
  return products_with_rows(weight_, axis, grouping, [&](std::span<double> row) {
    for (std::size_t first = 0; first < row.size(); first += m) {
      for (std::size_t k = 0; k < m; ++k) scores[k] = row[first + k] * row[first + k];
      prune_smallest_of_group(scores, pattern_.n, mask);
      for (std::size_t k = 0; k < m; ++k) row[first + k] *= mask[k] == 0 ? 1.0 : 0.0;
    }
  });
}

}  // namespace kronlab::decompositions
