#include "decompositions/sum_decomposer.hpp"

#include <algorithm>
#include <utility>

#include "decompositions/sum.hpp"

namespace kronlab::decompositions {
namespace {

void subtract(const Tensor& term, Matrix<double>& from) {
  const auto values = to_matrix<double>(term.view());
  for (Index i = 0; i < from.size(); ++i) from.data()[i] -= values.data()[i];
}

/// A sum's terms; one that is not there yet is zero.
using Terms = std::vector<std::shared_ptr<const Factorization>>;

class SumDecomposer final : public Decomposer {
 public:
  explicit SumDecomposer(SumOptions options) : parts_(std::move(options.parts)), rounds_(options.rounds) {
    if (parts_.size() < 2) throw ConfigError(fmt::format("sum: {} part(s), expected two or more", parts_.size()));
    if (rounds_ < 1) throw ConfigError(fmt::format("sum: rounds is {}, expected at least 1", rounds_));
  }

  std::string_view kind() const override { return "sum"; }

  bool needs_input_moments() const override {
    return std::ranges::any_of(parts_, [](const SumPart& part) {
      return part.decomposer->needs_input_moments() || (part.search && part.search->needs_input_moments());
    });
  }

  GradientMoments needed_gradient_moments() const override {
    auto needed = GradientMoments::none;
    for (const auto& [decomposer, search] : parts_) {
      needed = std::max(needed, decomposer->needed_gradient_moments());  // in the order none, diagonal, full
      if (search) needed = std::max(needed, search->needed_gradient_moments());
    }
    return needed;
  }

  Size size_of(const std::string& layer, Index rows, Index cols) const override {
    Size size;
    for (const auto& [decomposer, search] : parts_) {
      const auto part = decomposer->size_of(layer, rows, cols);
      size.num_parameters += part.num_parameters;
      size.stored_bytes += part.stored_bytes + (search ? search->stored_bytes(*decomposer, layer, rows, cols) : 0);
    }
    return size;
  }

  std::map<std::string, FactorShape> factor_shapes(const std::string& layer, Index rows, Index cols) const override {
    std::map<std::string, FactorShape> shapes;
    for (std::size_t p = 0; p < parts_.size(); ++p) {
      for (const auto& [name, shape] : parts_[p].decomposer->factor_shapes(layer, rows, cols))
        shapes[Sum::term_name(p) + "." + name] = shape;
    }
    return shapes;
  }

  std::vector<FactorShape> stored_factors(const std::string& layer, Index rows, Index cols) const override {
    std::vector<FactorShape> factors;
    for (const auto& [decomposer, search] : parts_) {
      const auto of_part = decomposer->stored_factors(layer, rows, cols);
      factors.insert(factors.end(), of_part.begin(), of_part.end());
    }
    return factors;
  }

  double cost(Index rows, Index cols) const override {
    double cost = 0;
    for (const auto& [decomposer, search] : parts_)
      cost += static_cast<double>(rounds_) * decomposer->cost(rows, cols) + (search ? search->cost(rows, cols) : 0.0);
    return cost;
  }

 private:
  Decomposition do_decompose(const std::string& layer, ConstTensorView weight, const LayerStatistics& statistics) const override {
    const auto w = to_matrix<double>(weight);
    Terms terms(parts_.size()), best(parts_.size());
    std::vector<Tensor> dense(parts_.size());
    std::vector<std::optional<SearchResult>> found(parts_.size());
    double least = 1;  // the relative error of no terms
    Convergence convergence{Convergence::Reason::max_iterations, 0, 0.0};
    while (convergence.num_iterations < rounds_ && convergence.reason != Convergence::Reason::converged) {
      const double before = least;
      for (std::size_t p = 0; p < parts_.size(); ++p) {
        auto residual = w;
        for (std::size_t q = 0; q < parts_.size(); ++q) {
          if (q != p && terms[q]) subtract(dense[q], residual);
        }
        terms[p] = term(p, layer, std::as_const(residual).view(), statistics, found[p]);
        dense[p] = terms[p]->to_dense();
        subtract(dense[p], residual);
        const double error = objective(relative_errors(w, residual, statistics));
        if (error < least) least = error, best = terms;
      }
      ++convergence.num_iterations;
      convergence.residual = before - least;
      if (!(least < before)) convergence.reason = Convergence::Reason::converged;
    }
    Decomposition result;
    result.factorization = sum_of(best, layer, weight.rows, weight.cols, statistics);
    result.convergence = convergence;
    return result;
  }

  std::unique_ptr<Factorization> term(std::size_t p, const std::string& layer, ConstTensorView residual, const LayerStatistics& statistics,
                                      std::optional<SearchResult>& found) const {
    const auto& [decomposer, search] = parts_[p];
    if (!search) return decomposer->decompose(layer, residual, statistics).factorization;
    if (!found) found = search->find(*decomposer, layer, residual, statistics, RandomStream(0).child("sum").child(layer).child(p));
    return decompose_permuted(*decomposer, *found, layer, residual, statistics).factorization;
  }

  double objective(const RelativeErrors& errors) const {
    if (needed_gradient_moments() != GradientMoments::none) return errors.two_sided.value_or(errors.plain);
    return needs_input_moments() ? errors.weighted.value_or(errors.plain) : errors.plain;
  }

  std::unique_ptr<Factorization> sum_of(const Terms& terms, const std::string& layer, Index rows, Index cols,
                                        const LayerStatistics& statistics) const {
    std::vector<std::unique_ptr<Factorization>> copies;
    for (std::size_t p = 0; p < parts_.size(); ++p) {
      copies.push_back(terms[p] ? terms[p]->copy()
                                : parts_[p].decomposer->decompose(layer, Tensor(DType::f32, {rows, cols}).view(), statistics).factorization);
    }
    return std::make_unique<Sum>(std::move(copies));
  }

  std::vector<SumPart> parts_;
  Index rounds_ = 1;
};

}  // namespace

std::unique_ptr<Decomposer> make_sum_decomposer(SumOptions options) {
  return std::make_unique<SumDecomposer>(std::move(options));
}

}  // namespace kronlab::decompositions
