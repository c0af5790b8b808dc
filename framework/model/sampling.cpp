#include "framework/model/sampling.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "framework/base/error.hpp"

namespace kronlab::model {
namespace {

struct Candidate {
  double probability;  ///< up to a common factor
  TokenId id;
};

bool is_less_likely(const Candidate& a, const Candidate& b) {
  return a.probability != b.probability ? a.probability < b.probability : a.id > b.id;
}

double mass_of(const std::vector<Candidate>& candidates) {
  return std::accumulate(candidates.begin(), candidates.end(), 0.0,
                         [](double sum, const Candidate& c) { return sum + c.probability; });
}

/// The fewest candidates that have at least this mass, the most likely first.
std::vector<Candidate> nucleus_of(std::vector<Candidate> candidates, double mass) {
  std::vector<Candidate> nucleus;
  std::make_heap(candidates.begin(), candidates.end(), is_less_likely);
  for (double sum = 0; sum < mass && !candidates.empty(); sum += nucleus.back().probability) {
    std::pop_heap(candidates.begin(), candidates.end(), is_less_likely);
    nucleus.push_back(candidates.back());
    candidates.pop_back();
  }
  return nucleus;
}

}  // namespace

void SamplingOptions::expect_valid() const {
  if (!(temperature >= 0) || !std::isfinite(temperature)) {
    throw ConfigError(fmt::format("temperature is {}, expected a number from 0 on", temperature));
  }
  if (!(top_p > 0 && top_p <= 1)) {
    throw ConfigError(fmt::format("top_p is {}, expected more than 0 and at most 1", top_p));
  }
}

TokenId sample(ConstTensorView logits, const SamplingOptions& options, RandomStream& random) {
  options.expect_valid();
  KRONLAB_EXPECTS(logits.rows == 1 && logits.cols > 0, "a token from logits of [{}, {}]", logits.rows, logits.cols);
  const auto values = to_matrix<double>(logits);
  for (Index i = 0; i < values.cols(); ++i) {
    if (!std::isfinite(values(0, i)))
      throw DataError(fmt::format("the model's logit of token {} is {}", i, values(0, i)));
  }
  const auto row = values.row(0);
  const auto most_likely = std::max_element(row.begin(), row.end());  // the first among equals
  if (options.temperature == 0) return static_cast<TokenId>(most_likely - row.begin());
  std::vector<Candidate> candidates;
  for (Index i = 0; i < values.cols(); ++i) {
    const double probability = std::exp((values(0, i) - *most_likely) / options.temperature);
    if (probability > 0) candidates.push_back({probability, static_cast<TokenId>(i)});
  }
  if (options.top_p < 1) candidates = nucleus_of(std::move(candidates), options.top_p * mass_of(candidates));
  const double place = random.uniform() * mass_of(candidates);
  double sum = 0;
  for (const auto& candidate : candidates) {
    sum += candidate.probability;
    if (place < sum) return candidate.id;
  }
  return candidates.back().id;  // `place` was rounded up to the whole mass
}

}  // namespace kronlab::model
