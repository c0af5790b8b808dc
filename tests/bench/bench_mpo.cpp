// Matrix-product operators against the dense layer, and how near they come to real weights.
//   bench_mpo speed OUT IN KEEP SITES TOKENS [ROUNDS]
// One line for each type and step: milliseconds, the median of the rounds, beside the dense layer's in turn, and the ratio
// that multiply-adds would give.
//   bench_mpo errors WEIGHTS KEEP [SEARCH]
// WEIGHTS: GPT-2's attention as safetensors, or SmolLM2 as GGUF. Relative errors at one size: truncated SVD, and operators
// of 2, 3 and 4 sites in two orders of the factors. SEARCH: what stands behind `permute =`, such as 'kind = "portfolio"';
// the weight is put in the order that it finds for Kronecker sums of 4 terms with blocks of 2 x 4, and for those that the
// decomposer asks for.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "decompositions/mpo.hpp"
#include "decompositions/mpo_decomposer.hpp"
#include "decompositions/mpo_size.hpp"
#include "decompositions/registry.hpp"
#include "decompositions/scaled.hpp"
#include "decompositions/site_factors.hpp"
#include "framework/base/progress.hpp"
#include "framework/config/value.hpp"
#include "tests/bench/measurement.hpp"
#include "tests/bench/real_weights.hpp"
#include "tests/support/random_matrix.hpp"

namespace {

using namespace kronlab;
using namespace kronlab::decompositions;
using testing::random_tensor;

Tensor typed(DType dtype, Index rows, Index cols, RandomStream random) {
  const Tensor values = random_tensor({rows, cols}, random);
  Tensor tensor = Tensor::uninitialised(dtype, {rows, cols});
  convert(values.view(), tensor.view());
  return tensor;
}

double once_ms(const std::function<void()>& step) {
  const double started = now_s();
  step();
  return 1e3 * (now_s() - started);
}

/// One step of both layers in turn.
void compare(const char* name, int rounds, double expected, const std::function<void()>& dense, const std::function<void()>& factored) {
  dense(), factored();
  std::vector<double> dense_ms, factored_ms;
  for (int i = 0; i < rounds; ++i) dense_ms.push_back(once_ms(dense)), factored_ms.push_back(once_ms(factored));
  const double a = bench::median(dense_ms), b = bench::median(factored_ms);
  std::printf("%-24s dense %9.3f ms  mpo %9.3f ms  ratio %6.3f  by multiply-adds %6.3f\n", name, a, b, b / a, expected);
}

struct Learning {
  Factorization& layer;
  std::vector<Tensor> gradients;
  std::vector<TensorView> views;
  explicit Learning(Factorization& of) : layer(of) {
    for (const auto& [name, value] : layer.parameters()) gradients.emplace_back(DType::f32, value->shape());
    for (auto& gradient : gradients) views.push_back(gradient.view());
  }
};

std::string plan_text(const ContractionPlan& plan) {
  std::string text = plan.direction == ContractionPlan::Direction::from_left ? "from the left" : "from the right";
  for (std::size_t g = 0; g < plan.num_groups(); ++g) text += fmt::format("{}{}", g == 0 ? ", groups of " : " + ", plan.first[g + 1] - plan.first[g]);
  return text;
}

void speed(Index out, Index in, double keep, Index sites, Index tokens, int rounds) {
  const Tensor w = random_tensor({out, in}, RandomStream(1));
  const auto decomposition = make_mpo_decomposer({.row_factors = {}, .col_factors = {}, .num_sites = sites, .bond_dimension = {}, .keep = keep})->decompose("w", w.view(), {});
  auto& mpo = dynamic_cast<Mpo&>(*decomposition.factorization);
  Dense dense(w.clone());
  for (const auto& s : mpo.shapes()) std::printf("[%ld %ld %ld %ld] ", s.left, s.rows, s.cols, s.right);
  std::printf("%ld parameters of %ld\napply %s; backward %s\n", mpo.num_parameters(), out * in, plan_text(mpo.plan(Pass::apply)).c_str(), plan_text(mpo.plan(Pass::backward)).c_str());
  const double all = static_cast<double>(out * in), forward = mpo.plan(Pass::apply).multiply_adds / all, backward = mpo.plan(Pass::backward).multiply_adds / (2 * all);
  for (const DType dtype : {DType::f32, DType::bf16}) {
    std::printf("%s\n", to_string(dtype).data());
    for (const Index n : {tokens, Index{1}}) {
      const Tensor x = typed(dtype, n, in, RandomStream(2)), dy = typed(dtype, n, out, RandomStream(3));
      Tensor y(dtype, {n, out}), dx(dtype, {n, in});
      compare(fmt::format("forward, {}", n).c_str(), n == 1 ? 20 * rounds : rounds, forward, [&] { dense.apply(x.view(), y.view()); }, [&] { mpo.apply(x.view(), y.view()); });
      if (n == 1) continue;
      Learning dense_learns(dense), mpo_learns(mpo);
      compare(fmt::format("backward, {}", n).c_str(), rounds, backward, [&] { dense.backward(x.view(), dy.view(), dense_learns.views, dx.view()); },
              [&] { mpo.backward(x.view(), dy.view(), mpo_learns.views, dx.view()); });
    }
  }
  std::vector<std::int32_t> ids;
  for (Index t = 0; t < tokens; ++t) ids.push_back(static_cast<std::int32_t>(t * 7919 % out));
  Tensor rows(DType::f32, {tokens, in});
  compare("lookups", rounds, 0, [&] { dense.gather_rows(ids, rows.view()); }, [&] { mpo.gather_rows(ids, rows.view()); });
}

double mpo_error(const Tensor& w, double keep, const SiteFactors& sites, const SearchResult* order) {
  const auto decomposer = make_mpo_decomposer({.row_factors = sites.rows, .col_factors = sites.cols, .num_sites = {}, .bond_dimension = {}, .keep = keep});
  return (order ? decompose_permuted(*decomposer, *order, "w", w.view(), {}) : decomposer->decompose("w", w.view(), {})).relative_error;
}

void errors(const std::string& path, double keep, const std::string& search) {
  const auto found_for = [&](const Tensor& w, const GroupingProblem& problem) {
    const config::StrictTable table(config::parse_toml(search, "search"));
    return search_from(table).search->search("w", w.view(), problem, RandomStream(1), {.time_limit_s = 10.0});
  };
  for (const auto& [name, w] : path.ends_with(".gguf") ? bench::mlps_of_smollm2(path) : bench::attention_of_gpt2(path)) {
    const auto svd = make_svd_decomposer({.truncation = {}, .keep = keep})->decompose("w", w.view(), {});
    std::optional<SearchResult> found;
    if (!search.empty()) found = found_for(w, {2, 4, 4});
    std::printf("%-10s svd %.4f", name.c_str(), svd.relative_error);
    for (const Index num : {2, 3, 4}) {
      const auto rows = *balanced_factors(w.rows(), num);
      auto cols = *balanced_factors(w.cols(), num);
      const double rising = mpo_error(w, keep, {rows, cols}, nullptr);
      std::reverse(cols.begin(), cols.end());
      std::printf("  %ld sites %.4f, both rising %.4f", num, mpo_error(w, keep, {rows, cols}, nullptr), rising);
      if (search.empty()) continue;
      std::printf(", permuted by 2x4x4 %.4f", mpo_error(w, keep, {rows, cols}, &*found));
      const auto decomposer = make_mpo_decomposer({.row_factors = rows, .col_factors = cols, .num_sites = {}, .bond_dimension = {}, .keep = keep});
      const auto problem = *decomposer->grouping_problem("w", w.rows(), w.cols());
      const auto own = found_for(w, problem);
      std::printf(", by %ldx%ldx%ld %.4f", problem.right_rows, problem.right_cols, problem.num_terms, mpo_error(w, keep, {rows, cols}, &own));
    }
    std::printf("\n");
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const auto number = [&](std::size_t i, const char* otherwise) { return std::atof(i < arguments.size() ? arguments[i].c_str() : otherwise); };
  if (!arguments.empty() && arguments[0] == "errors" && arguments.size() > 1) {
    errors(arguments[1], number(2, "0.5"), arguments.size() > 3 ? arguments[3] : "");
  } else if (!arguments.empty() && arguments[0] == "speed") {
    speed(static_cast<Index>(number(1, "1536")), static_cast<Index>(number(2, "576")), number(3, "0.3"), static_cast<Index>(number(4, "3")),
          static_cast<Index>(number(5, "1024")), static_cast<int>(number(6, "15")));
  } else {
    std::fprintf(stderr, "bench_mpo speed OUT IN KEEP SITES TOKENS [ROUNDS] | errors WEIGHTS KEEP [SEARCH]\n");
    return 2;
  }
}
