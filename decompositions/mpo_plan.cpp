#include <limits>

#include "decompositions/mpo_contraction.hpp"

namespace kronlab::decompositions {
namespace {

/// Products of rows and columns of the first k cores.
struct Products {
  std::vector<double> rows{1.0}, cols{1.0};

  explicit Products(std::span<const CoreShape> cores) {
    for (const auto& core : cores) {
      rows.push_back(rows.back() * static_cast<double>(core.rows));
      cols.push_back(cols.back() * static_cast<double>(core.cols));
    }
  }
};

/// Multiply-adds of the product with cores [begin, end) merged. From the left, rows of the cores before were produced and
/// columns of those behind are still to be contracted.
double product_cost(std::span<const CoreShape> cores, const Products& all, ContractionPlan::Direction direction, std::size_t begin,
                    std::size_t end) {
  const double rows = all.rows[end] / all.rows[begin], cols = all.cols[end] / all.cols[begin];
  const double size = static_cast<double>(cores[begin].left * cores[end - 1].right) * rows * cols;
  const bool from_left = direction == ContractionPlan::Direction::from_left;
  return size * (from_left ? all.rows[begin] * all.cols.back() / all.cols[end] : all.cols[begin] * all.rows.back() / all.rows[end]);
}

/// How often a pass makes that product: backward goes through it again, multiplies for the cores and for the input. What
/// is not needed is the product that ends the repeated chain: the last core's from the left, the first one's from the right.
double repetitions(Pass pass, ContractionPlan::Direction direction, std::size_t begin, std::size_t end, std::size_t num_cores) {
  if (pass == Pass::apply) return 1;
  const bool is_last = direction == ContractionPlan::Direction::from_left ? end == num_cores : begin == 0;
  return is_last ? 2 : 3;
}

/// Shortest path over the places where a group may end.
ContractionPlan cheapest_of(std::span<const CoreShape> cores, Pass pass, ContractionPlan::Direction direction) {
  const Products all(cores);
  const std::size_t n = cores.size();
  std::vector<double> least(n + 1, std::numeric_limits<double>::infinity());
  std::vector<std::size_t> from(n + 1);
  least[0] = 0;
  for (std::size_t end = 1; end <= n; ++end) {
    for (std::size_t begin = end; begin-- > 0;) {
      const double cost = least[begin] + repetitions(pass, direction, begin, end, n) * product_cost(cores, all, direction, begin, end);
      if (cost < least[end]) least[end] = cost, from[end] = begin;
    }
  }
  ContractionPlan plan{direction, {n}, least[n]};
  while (plan.first.front() > 0) plan.first.insert(plan.first.begin(), from[plan.first.front()]);
  return plan;
}

}  // namespace

ContractionPlan cheapest_plan(std::span<const CoreShape> cores, Pass pass) {
  KRONLAB_EXPECTS(!cores.empty(), "a contraction of no cores");
  auto left = cheapest_of(cores, pass, ContractionPlan::Direction::from_left);
  auto right = cheapest_of(cores, pass, ContractionPlan::Direction::from_right);
  return right.multiply_adds < left.multiply_adds ? right : left;
}

}  // namespace kronlab::decompositions
