// SparseGPT of one layer, its second moments given, against the products that it needs at the rate that products of
// this precision and size reach in the same run. The paper's form needs Cholesky's factor of H, the inverse, the factor
// of that and the updates: 4/3 in^3 + out in^2 operations. The sweep here gets by with in^3 / 3 + out in^2.
//
//   bench_sparsegpt [OUT [IN [ROUNDS]]]

#include <omp.h>

#include <chrono>
#include <cstdlib>
#include <utility>

#include "decompositions/pruning_policy.hpp"
#include "framework/linalg/gemm.hpp"
#include "tests/bench/measurement.hpp"
#include "tests/support/random_matrix.hpp"

using namespace kronlab;
using namespace kronlab::decompositions;
using linalg::Transpose;

namespace {

template <class Work>
double seconds_of(const Work& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

template <class T>
double gemm_rate(const Matrix<double>& a, const Matrix<double>& b) {
  const auto x = to_matrix<T>(a.view()), y = to_matrix<T>(b.view());
  Matrix<T> product(x.rows(), y.cols());
  const double seconds =
      seconds_of([&] { linalg::gemm(Transpose::no, x.view(), Transpose::no, y.view(), 0.0, product.view()); });
  return 2.0 * static_cast<double>(x.rows() * x.cols() * y.cols()) / seconds;
}

Matrix<double> moments(Index n) {
  auto c = testing::random_matrix(n, n, RandomStream(1)), result = Matrix<double>(n, n);
  linalg::gram(std::as_const(c).view(), result);
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  const Index rows = argc > 1 ? std::atol(argv[1]) : 4096, cols = argc > 2 ? std::atol(argv[2]) : 4096;
  const int rounds = argc > 3 ? std::atoi(argv[3]) : 3;
  const auto c = moments(cols);
  const auto weight = testing::random_matrix(rows, cols, RandomStream(2));
  const double in = static_cast<double>(cols), out = static_cast<double>(rows);
  const double of_paper = 4.0 / 3 * in * in * in + out * in * in, of_sweep = in * in * in / 3 + out * in * in;
  std::printf("SparseGPT of %ld x %ld, %d threads\n", static_cast<long>(rows), static_cast<long>(cols),
              omp_get_max_threads());
  for (const auto& [name, amount, bits] : {std::tuple<const char*, PruningAmount, Index>{"50 %", {.sparsity = 0.5}, 0},
                                           {"2:4", {.sparsity = {}, .pattern = {2, 4}}, 0},
                                           {"50 % and 4 bits, group 128", {.sparsity = 0.5}, 4}}) {
    std::vector<double> total, factor, to_paper, to_sweep, to_paper_f32;
    for (int round = 0; round < rounds; ++round) {
      const double f64_rate = gemm_rate<double>(weight, c), f32_rate = gemm_rate<float>(weight, c);
      SweepMoments found;
      const double factor_s = seconds_of([&] { found = sweep_moments("w", c, 0.01, ColumnOrder::given); });
      auto w = weight;
      const double sweep_s = seconds_of([&] {
        std::optional<RoundingPolicy> rounding;
        if (bits > 0) rounding.emplace(rows, cols, QuantisationGrid{.bits = bits, .group = 128});
        PruningPolicy policy(rows, found.factor, amount, 128, rounding);
        sweep_columns(found.factor, policy, w);
      });
      total.push_back(factor_s + sweep_s), factor.push_back(factor_s);
      to_paper.push_back((factor_s + sweep_s) / (of_paper / f64_rate));
      to_sweep.push_back((factor_s + sweep_s) / (of_sweep / f64_rate));
      to_paper_f32.push_back((factor_s + sweep_s) / (of_paper / f32_rate));
      std::printf("  round %d: f64 %.1f GFLOP/s, f32 %.1f GFLOP/s\n", round, f64_rate / 1e9, f32_rate / 1e9);
    }
    std::printf(
        "%-28s %.3f s (factor %.3f s); of the products of the paper's form in f64 %.2fx, in f32 %.2fx; of those of "
        "this sweep in f64 %.2fx\n",
        name, bench::median(total), bench::median(factor), bench::median(to_paper), bench::median(to_paper_f32),
        bench::median(to_sweep));
  }
  return 0;
}
