// What stands beside the products in a sum of Kronecker products, forward and backward, against the dense layer.
//   bench_kronecker [OUT IN M2 N2 TERMS TOKENS [ROUNDS]]
// One line for each type of activations and step: milliseconds, the median of the rounds, and for the loops the bytes
// that they must move over that time.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "decompositions/kronecker_sum.hpp"
#include "framework/base/progress.hpp"
#include "tests/support/random_matrix.hpp"

namespace {

using namespace kronlab;
using decompositions::Dense;
using decompositions::KroneckerSum;
using testing::random_tensor;

double median_ms(int rounds, const std::function<void()>& step) {
  step();
  std::vector<double> times;
  for (int round = 0; round < rounds; ++round) {
    const double started = now_s();
    step();
    times.push_back(1e3 * (now_s() - started));
  }
  std::ranges::sort(times);
  return times[times.size() / 2];
}

Tensor typed(DType dtype, std::vector<Index> shape, RandomStream random) {
  const Tensor values = random_tensor(shape, random);
  Tensor tensor = Tensor::uninitialised(dtype, std::move(shape));
  convert(values.view(), tensor.view());
  return tensor;
}

void report(DType dtype, const char* step, double ms, double bytes = 0) {
  std::printf("%-5s %-24s %8.3f ms", to_string(dtype).data(), step, ms);
  if (bytes > 0) std::printf("  %6.1f GB/s", bytes / ms * 1e-6);
  std::printf("\n");
}

void time_loops(const kernels::KroneckerShape& s, Index n, DType dtype, int rounds) {
  const RandomStream random(1);
  const Index in = s.left_cols * s.right_cols, out = s.left_rows * s.right_rows, wide = s.num_terms * s.left_cols;
  Tensor right = random_tensor({s.num_terms, s.right_rows * s.right_cols}, random.child(0));
  Tensor x = typed(dtype, {n, in}, random.child(1)), z = typed(dtype, {n * s.right_rows, wide}, random.child(2));
  Tensor y = typed(dtype, {n, out}, random.child(3)), w(dtype, {n * s.right_rows, s.left_rows});
  const auto bytes = static_cast<double>(x.size_bytes() + z.size_bytes());
  const auto moved = static_cast<double>(2 * y.size_bytes());
  const auto view = [](const Tensor& tensor) { return tensor.view(); };
  report(dtype, "contract_right",
         median_ms(rounds, [&] { kernels::contract_right(s, view(right), view(x), z.view()); }), bytes);
  report(dtype, "expand_right",
         median_ms(rounds, [&] { kernels::expand_right(s, view(right), view(z), x.view(), false); }), bytes);
  Tensor gradient(dtype == DType::f64 ? DType::f64 : DType::f32, {s.num_terms, s.right_rows * s.right_cols});
  report(dtype, "contract_right_gradient",
         median_ms(rounds, [&] { kernels::contract_right_gradient(s, view(x), view(z), gradient.view()); }), bytes);
  report(dtype, "deinterleave", median_ms(rounds, [&] { kernels::deinterleave(s.right_rows, view(y), w.view()); }),
         moved);
  report(dtype, "interleave", median_ms(rounds, [&] { kernels::interleave(s.right_rows, view(w), y.view(), false); }),
         moved);
}

void time_layer(const char* name, decompositions::Factorization& layer, Index n, DType dtype, int rounds) {
  const Tensor x = typed(dtype, {n, layer.cols()}, RandomStream(5)),
               dy = typed(dtype, {n, layer.rows()}, RandomStream(6));
  Tensor y(dtype, {n, layer.rows()}), dx(dtype, {n, layer.cols()});
  std::vector<Tensor> gradients;
  std::vector<TensorView> views;
  for (const auto& [parameter, value] : layer.parameters()) {
    gradients.emplace_back(dtype == DType::f64 ? DType::f64 : DType::f32, value->shape());
    views.push_back(gradients.back().view());
  }
  const auto line = [&](const char* step, const std::function<void()>& run) {
    report(dtype, fmt::format("{} {}", name, step).c_str(), median_ms(rounds, run));
  };
  line("forward", [&] { layer.apply(x.view(), y.view()); });
  line("backward", [&] { layer.backward(x.view(), dy.view(), views, dx.view()); });
  line("backward, frozen", [&] { layer.backward(x.view(), dy.view(), {}, dx.view()); });
}

}  // namespace

int main(int argc, char** argv) {
  Index numbers[] = {1536, 576, 2, 4, 4, 1024, 21};
  for (int i = 1; i < std::min(argc, 8); ++i) numbers[i - 1] = std::atoi(argv[i]);
  const auto [out, in, m2, n2, terms, n, rounds] = numbers;
  const kernels::KroneckerShape s{terms, out / m2, in / n2, m2, n2};
  const RandomStream random(3);
  Dense dense(random_tensor({out, in}, random.child(0)));
  KroneckerSum sum(std::make_unique<Dense>(random_tensor({s.left_rows, terms * s.left_cols}, random.child(1))),
                   random_tensor({terms, m2, n2}, random.child(2)));
  for (const DType dtype : {DType::f32, DType::bf16, DType::f64}) {
    time_loops(s, n, dtype, static_cast<int>(rounds));
    time_layer("dense", dense, n, dtype, static_cast<int>(rounds));
    time_layer("kronecker", sum, n, dtype, static_cast<int>(rounds));
  }
}
