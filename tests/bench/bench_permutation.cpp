// Permutation searches on one weight after another: error, bound where there is one, seconds, candidate swaps a second.
//   bench_permutation WEIGHTS BLOCKS SEARCH...
// WEIGHTS: a safetensors file with GPT-2's attention (q, v and proj of blocks 0, 5, 11); SmolLM2 as GGUF (gate and down of
//   blocks 0, 10, 20), or GGUF:TENSOR for one of its weights; normal:ROWSxCOLS with rows and columns of uneven norm;
//   planted:ROWSxCOLS, 20 seeds of such a sum of Kronecker products, rows and columns shuffled, found again or not.
// BLOCKS: 2x4x4 is B of 2 x 4 and 4 terms.
// SEARCH: what stands in a TOML file behind `permute =`, as 'kind = "portfolio"'; or textbook: five seconds of annealing
//   with an eigenproblem for every swap, for its swaps a second.
#include <cmath>
#include <cstdio>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "decompositions/permutation/kronecker_objective.hpp"
#include "decompositions/registry.hpp"
#include "framework/base/progress.hpp"
#include "framework/config/strict_table.hpp"
#include "framework/linalg/svd.hpp"
#include "tests/bench/measurement.hpp"
#include "tests/bench/real_weights.hpp"

namespace {

using namespace kronlab;

using bench::Weights;

std::pair<Index, Index> extents(const std::string& text) {
  long long rows = 0, cols = 0;
  if (std::sscanf(text.c_str(), "%lldx%lld", &rows, &cols) != 2) throw ConfigError("expected ROWSxCOLS, found '" + text + "'");
  return {rows, cols};
}

/// Log-normal scales of rows and columns, as those of trained weights are uneven.
Tensor uneven_normal(Index rows, Index cols) {
  RandomStream random(1);
  std::vector<double> scales(static_cast<std::size_t>(cols));
  for (double& scale : scales) scale = std::exp(0.5 * random.normal());
  Tensor w = Tensor::uninitialised(DType::f32, {rows, cols});
  for (Index i = 0; i < rows; ++i) {
    const double scale = std::exp(0.5 * random.normal());
    for (Index j = 0; j < cols; ++j) w.matrix<float>()(i, j) = static_cast<float>(scale * scales[static_cast<std::size_t>(j)] * random.normal());
  }
  return w;
}

/// Σ_k A_k ⊗ B_k of normal numbers, rows and columns shuffled.
Tensor planted(Index rows, Index cols, const decompositions::GroupingProblem& blocks, std::uint64_t seed) {
  RandomStream random(seed);
  const Index m2 = blocks.right_rows, n2 = blocks.right_cols;
  const auto p = random.permutation(rows), q = random.permutation(cols);
  Matrix<double> w(rows, cols);
  for (Index term = 0; term < blocks.num_terms; ++term) {
    std::vector<double> b(static_cast<std::size_t>(m2 * n2));
    for (double& x : b) x = random.normal();
    for (Index a = 0; a < rows / m2; ++a) {
      for (Index c = 0; c < cols / n2; ++c) {
        const double left = random.normal();
        for (Index u = 0; u < m2; ++u) {
          for (Index s = 0; s < n2; ++s) {
            w(p[static_cast<std::size_t>(a * m2 + u)], q[static_cast<std::size_t>(c * n2 + s)]) += left * b[static_cast<std::size_t>(u * n2 + s)];
          }
        }
      }
    }
  }
  Tensor result(DType::f32, {rows, cols});
  convert(std::as_const(w).view(), result.view());
  return result;
}

Weights weights_of(const std::string& what, const decompositions::GroupingProblem& blocks) {
  Weights weights;
  const auto colon = what.find(':');
  if (what.starts_with("normal:")) {
    const auto [rows, cols] = extents(what.substr(colon + 1));
    weights.emplace_back("normal", uneven_normal(rows, cols));
  } else if (what.starts_with("planted:")) {
    const auto [rows, cols] = extents(what.substr(colon + 1));
    for (std::uint64_t seed = 0; seed < 20; ++seed) weights.emplace_back("seed " + std::to_string(seed), planted(rows, cols, blocks, seed));
  } else if (colon != std::string::npos) {
    weights.emplace_back(what.substr(colon + 1), bench::tensor_of(storage::GgufFile(what.substr(0, colon)), what.substr(colon + 1)));
  } else {
    return what.ends_with(".gguf") ? bench::mlps_of_smollm2(what) : bench::attention_of_gpt2(what);
  }
  return weights;
}

/// Metropolis' algorithm with the change of the energy from the eigenvalues of the Gram matrix with the two groups of
/// rows replaced, as a textbook has it: swaps a second.
double textbook_rate(ConstTensorView weight, const decompositions::GroupingProblem& blocks) {
  const Index m2 = blocks.right_rows, n2 = blocks.right_cols, k = m2 * n2, n1 = weight.cols / n2;
  const auto w = to_matrix<double>(weight);
  const decompositions::KroneckerObjective objective(w, blocks);
  auto grouping = decompositions::norm_sorted_grouping(objective);
  auto gram = objective.gram(grouping);
  const auto kept = [&](const Matrix<double>& g) {
    const auto values = linalg::symmetric_eigen(g).values;
    return std::accumulate(values.end() - blocks.num_terms, values.end(), 0.0);
  };
  Matrix<double> pieces(n1, k);
  const auto add_group = [&](Index group, double sign, Matrix<double>& g) {
    for (Index u = 0; u < m2; ++u) {
      const auto row = w.view().row(grouping.rows[static_cast<std::size_t>(group * m2 + u)]);
      for (Index j = 0; j < weight.cols; ++j) pieces(j / n2, u * n2 + j % n2) = row[static_cast<std::size_t>(grouping.columns[static_cast<std::size_t>(j)])];
    }
    Matrix<double> part(k, k);
    linalg::gram(std::as_const(pieces).view(), part);
    for (Index i = 0; i < part.size(); ++i) g.data()[i] += sign * part.data()[i];
  };
  RandomStream random(1);
  double energy = kept(gram);
  const double temperature = 1e-4 * objective.energy() / static_cast<double>(weight.rows), started = now_s();
  Index swaps = 0;
  while (now_s() - started < 5) {
    const Index p = random.below(weight.rows), q = random.below(weight.rows);
    ++swaps;
    if (p / m2 == q / m2) continue;
    auto moved = to_matrix<double>(std::as_const(gram).view());
    for (const Index group : {p / m2, q / m2}) add_group(group, -1, moved);
    std::swap(grouping.rows[static_cast<std::size_t>(p)], grouping.rows[static_cast<std::size_t>(q)]);
    for (const Index group : {p / m2, q / m2}) add_group(group, 1, moved);
    const double after = kept(moved);
    if (after >= energy || random.uniform() < std::exp((after - energy) / temperature)) {
      energy = after, gram = std::move(moved);
    } else {
      std::swap(grouping.rows[static_cast<std::size_t>(p)], grouping.rows[static_cast<std::size_t>(q)]);
    }
  }
  return static_cast<double>(swaps) / (now_s() - started);
}

}  // namespace

int main(int argc, char** argv) try {
  long long m2 = 0, n2 = 0, terms = 0;
  if (argc < 4 || std::sscanf(argv[2], "%lldx%lldx%lld", &m2, &n2, &terms) != 3) {
    std::fprintf(stderr, "bench_permutation WEIGHTS BLOCKS SEARCH..., as normal:512x512 2x4x4 'kind = \"portfolio\"'\n");
    return 2;
  }
  const decompositions::GroupingProblem blocks{m2, n2, terms};
  const auto weights = weights_of(argv[1], blocks);
  double rate = 0;  // of the last search
  for (int a = 3; a < argc; ++a) {
    std::printf("%s\n", argv[a]);
    if (std::string(argv[a]) == "textbook") {
      const double swaps = textbook_rate(weights.front().second.view(), blocks);
      std::printf("  %-8s %.4f M swaps/s; the search before has %.0f times as many\n", weights.front().first.c_str(), swaps * 1e-6, rate / swaps);
      continue;
    }
    const auto configured = decompositions::search_from(config::StrictTable(config::parse_toml(argv[a], "search")));
    double errors = 0, seconds = 0, evaluated = 0;
    int exact = 0;
    for (const auto& [name, weight] : weights) {
      const double started = now_s();
      auto found = configured.search->search(name, weight.view(), blocks, RandomStream(1), configured.budget);
      for (Index start = 1; start < configured.search->num_starts(); ++start) {
        keep_best(found, configured.search->search(name, weight.view(), blocks, RandomStream(1), configured.budget, nullptr, start));
      }
      const double took = now_s() - started, error = std::sqrt(std::max(1 - found.value, 0.0));
      std::printf("  %-8s error %.4f  %6.2f s  %6.1f M swaps/s  %5.0f M swaps  %8lld accepted", name.c_str(), error, took,
                  static_cast<double>(found.evaluated) / took * 1e-6, static_cast<double>(found.evaluated) * 1e-6,
                  static_cast<long long>(found.accepted));
      if (found.bound) std::printf("  gap %.1e of the energy", *found.bound - found.value);
      std::printf("\n");
      std::fflush(stdout);
      errors += error, seconds += took, evaluated += static_cast<double>(found.evaluated), exact += error < 1e-5;
    }
    const auto n = static_cast<double>(weights.size());
    rate = evaluated / seconds;
    std::printf("  mean     error %.4f  %6.2f s  %6.1f M swaps/s", errors / n, seconds / n, rate * 1e-6);
    if (std::string(argv[1]).starts_with("planted:")) std::printf("  found %d of %zu", exact, weights.size());
    std::printf("  peak memory %.0f MiB\n", bench::peak_memory().mib);
  }
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
