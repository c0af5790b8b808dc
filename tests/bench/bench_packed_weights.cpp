// Products with sparse and quantised weights against the dense layer, in turn with it.
//   bench_packed_weights [TOKENS,TOKENS,... [ROUNDS [SHAPE]]]      SHAPE: OUTxIN, such as 1536x576
// One line for each shape, number of tokens, type of activations and weight: microseconds, the median of the rounds, and the
// speed against the dense layer in float32 and in the type of the activations. Up to `few_tokens` tokens the product takes
// one copy of the layer after another, more than caches hold of any form: so a model's layers are read. The first line says
// what memory and the product of large dense matrices reach in this process.
#include <omp.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "decompositions/quantised_dense.hpp"
#include "decompositions/sparse.hpp"
#include "framework/base/progress.hpp"
#include "tests/bench/measurement.hpp"
#include "tests/decompositions/examples.hpp"

namespace {

using namespace kronlab;
using namespace kronlab::decompositions;
using testing::random_codes;
using testing::random_sparse;
using testing::random_tensor;
using Layers = std::vector<std::unique_ptr<Factorization>>;

constexpr Index few_tokens = 16;

struct Shape {
  Index rows, cols;
};

struct Form {
  const char* name;
  std::function<std::unique_ptr<Factorization>(Shape)> make;
};

Form quantised(const char* name, QuantisationGrid grid) {
  return {name, [=](Shape s) { return std::make_unique<QuantisedDense>(random_codes(s.rows, s.cols, grid, RandomStream(1))); }};
}

const Form dense = {"dense", [](Shape s) { return std::make_unique<Dense>(random_tensor({s.rows, s.cols}, RandomStream(1))); }};

const std::vector<Form>& forms() {
  static const std::vector<Form> all = {
      quantised("int8, rows", {.bits = 8, .symmetric = true}),
      quantised("int8, 64", {.bits = 8, .group = 64}),
      quantised("int4, 64", {.bits = 4, .group = 64}),
      quantised("int3, 64", {.bits = 3, .group = 64}),
      quantised("int2, 64", {.bits = 2, .group = 64}),
      {"sparse 2:4", [](Shape s) { return random_sparse(s.rows, s.cols, {2, 4}, 0, RandomStream(1)); }},
      {"sparse 50 %", [](Shape s) { return random_sparse(s.rows, s.cols, {}, s.rows * s.cols / 2, RandomStream(1)); }},
      {"sparse 90 %", [](Shape s) { return random_sparse(s.rows, s.cols, {}, s.rows * s.cols / 10, RandomStream(1)); }},
  };
  return all;
}

/// Enough copies that two bits a weight are more than caches hold; one where a product reads the weight once for many rows.
Layers copies_of(const Form& form, Shape s, Index tokens) {
  constexpr double cached = 96e6;
  const auto count = tokens > few_tokens ? Index{1} : static_cast<Index>(cached / (0.25 * static_cast<double>(s.rows * s.cols))) + 1;
  Layers layers;
  layers.push_back(form.make(s));
  while (static_cast<Index>(layers.size()) < count) layers.push_back(layers.front()->copy());
  return layers;
}

/// Microseconds of one product.
double pass_us(const Layers& layers, const Tensor& x, Tensor& y) {
  const double started = now_s();
  for (const auto& layer : layers) layer->apply(x.view(), y.view());
  return 1e6 * (now_s() - started) / static_cast<double>(layers.size());
}

Tensor typed(DType dtype, Index rows, Index cols) {
  Tensor tensor = Tensor::uninitialised(dtype, {rows, cols});
  convert(random_tensor({rows, cols}, RandomStream(2)).view(), tensor.view());
  return tensor;
}

void measure(Shape s, Index tokens, int rounds) {
  const Layers reference = copies_of(dense, s, tokens);
  const auto work = 2e-3 * static_cast<double>(s.rows * s.cols * tokens), bytes = 4e-3 * static_cast<double>(s.rows * s.cols);
  for (const auto& form : forms()) {
    const Layers layers = copies_of(form, s, tokens);
    for (const DType dtype : {DType::f32, DType::bf16}) {
      const Tensor single = typed(DType::f32, tokens, s.cols), x = typed(dtype, tokens, s.cols);
      Tensor single_y(DType::f32, {tokens, s.rows}), y(dtype, {tokens, s.rows});
      std::vector<double> of_dense, of_typed, of_form;
      for (int round = 0; round <= rounds; ++round) {
        const double times[] = {pass_us(reference, single, single_y), pass_us(reference, x, y), pass_us(layers, x, y)};
        if (round == 0) continue;  // first touch, and the dense weight in another type
        of_dense.push_back(times[0]), of_typed.push_back(times[1]), of_form.push_back(times[2]);
      }
      const double base = bench::median(of_dense), same_type = bench::median(of_typed), own = bench::median(of_form);
      std::printf("%5ldx%-5ld %5ld %-4s %-12s %10.1f us  %5.2fx of dense f32 (%9.1f us, %5.1f GFLOP/s, %5.1f GB/s)  %5.2fx of dense %s\n", s.rows, s.cols, tokens,
                  to_string(dtype).data(), form.name, own, base / own, base, work / base, bytes / base, same_type / own, to_string(dtype).data());
      std::fflush(stdout);
    }
  }
}

void print_limits() {
  constexpr Index n = Index{1} << 27;
  const Tensor numbers(DType::f32, {n});
  const float* values = numbers.values<float>().data();
  std::vector<double> rates;
  float total = 0;
  for (int round = 0; round < 5; ++round) {
    const double started = now_s();
#pragma omp parallel for simd reduction(+ : total)
    for (Index i = 0; i < n; ++i) total += values[i];
    rates.push_back(4e-9 * n / (now_s() - started));
  }
  const Dense layer(random_tensor({2048, 2048}, RandomStream(1)));
  const Tensor x = typed(DType::f32, 2048, 2048);
  Tensor y(DType::f32, {2048, 2048});
  std::vector<double> products;
  for (int round = 0; round < 5; ++round) {
    const double started = now_s();
    layer.apply(x.view(), y.view());
    products.push_back(2e-9 * 2048 * 2048 * 2048 / (now_s() - started));
  }
  std::printf("%d threads: %.1f GB/s read%s, %.1f GFLOP/s of a dense product in float32\n", omp_get_max_threads(), bench::median(rates),
              total == 0 ? "" : "!", bench::median(products));
}

}  // namespace

int main(int argc, char** argv) {
  const std::string tokens = argc > 1 ? argv[1] : "1,4,16,64,1024";
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 5;
  print_limits();
  for (const Shape s : {Shape{576, 576}, {1536, 576}, {576, 1536}, {4096, 4096}, {49152, 576}}) {
    if (argc > 3 && fmt::format("{}x{}", s.rows, s.cols) != argv[3]) continue;
    for (std::size_t at = 0; at < tokens.size(); at = std::min(tokens.find(',', at), tokens.size() - 1) + 1) measure(s, std::atoi(tokens.c_str() + at), rounds);
  }
}
