// Rates of the kernels of a training step: attention in GFLOP/s per thread, loops over activations in GB/s.
//   bench_kernels [ROUNDS] [FILTER]
// Each round runs every kernel once, so that a busy machine disturbs all alike; the median of the rounds counts. Of
// attention's products half is counted, that of the causal triangle.
#include <omp.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "framework/base/progress.hpp"
#include "framework/kernels/attention.hpp"
#include "framework/kernels/elementwise.hpp"
#include "framework/kernels/elementwise_backward.hpp"

namespace {

using namespace kronlab;
using namespace kronlab::kernels;

struct Benchmark {
  std::string name;
  const char* unit;
  double work;  ///< in 1e9 operations or bytes
  std::function<void()> run;
  std::vector<double> seconds = {};
};

/// Values in [-2, 2), in no sequence that repeats soon.
Tensor filled(DType dtype, Index rows, Index cols) {
  Tensor values(DType::f32, {rows, cols}), result(dtype, {rows, cols});
  std::uint32_t state = 1;
  for (float& value : values.values<float>()) {
    state = state * 1664525U + 1013904223U;
    value = static_cast<float>(state >> 8) * 0x1p-22f - 2.0f;
  }
  convert(values.view(), result.view());
  return result;
}

class Suite {
 public:
  explicit Suite(std::string filter) : filter_(std::move(filter)) {}
  bool wants(const std::string& name) const { return name.find(filter_) != std::string::npos; }
  Tensor& tensor(DType dtype, Index rows, Index cols) {
    tensors_.push_back(std::make_unique<Tensor>(filled(dtype, rows, cols)));
    return *tensors_.back();
  }
  void add(std::string name, const char* unit, double work, std::function<void()> run) {
    if (wants(name)) benchmarks_.push_back({std::move(name), unit, work, std::move(run)});
  }
  void run(int num_rounds) {
    for (int round = -1; round < num_rounds; ++round) {  // the first warms up
      for (Benchmark& b : benchmarks_) {
        const double started_s = now_s();
        b.run();
        if (round >= 0) b.seconds.push_back(now_s() - started_s);
      }
    }
    for (Benchmark& b : benchmarks_) {
      std::sort(b.seconds.begin(), b.seconds.end());
      const double median_s = b.seconds[b.seconds.size() / 2];
      std::printf("%-44s %8.3f ms %8.2f %s (best %.2f)\n", b.name.c_str(), 1e3 * median_s, b.work / median_s, b.unit,
                  b.work / b.seconds[0]);
    }
  }

 private:
  std::string filter_;
  std::vector<std::unique_ptr<Tensor>> tensors_;
  std::vector<Benchmark> benchmarks_;
};

void add_attention(Suite& suite, DType type, const AttentionShape& s) {
  const Index tokens = s.num_sequences * s.length, q_cols = s.num_heads * s.head_dim,
              kv_cols = s.num_kv_heads * s.head_dim;
  const auto q = suite.tensor(type, tokens, q_cols).view(), k = suite.tensor(type, tokens, kv_cols).view(),
             v = suite.tensor(type, tokens, kv_cols).view();
  const auto out = suite.tensor(type, tokens, q_cols).view(), dq = suite.tensor(type, tokens, q_cols).view();
  const auto dk = suite.tensor(type, tokens, kv_cols).view(), dv = suite.tensor(type, tokens, kv_cols).view();
  const double product = static_cast<double>(s.num_sequences * s.num_heads * s.length * s.length * s.head_dim) / 1e9 /
                         omp_get_max_threads();
  const std::string of = " " + std::string(to_string(type)) + " " + std::to_string(s.num_sequences) + "x" +
                         std::to_string(s.length) + " heads " + std::to_string(s.num_heads) + "/" +
                         std::to_string(s.num_kv_heads) + " of " + std::to_string(s.head_dim);
  suite.add("attention forward" + of, "GFLOP/s", 2 * product, [=] { causal_attention(s, q, k, v, out); });
  suite.add("attention backward" + of, "GFLOP/s", 5 * product,
            [=] { causal_attention_backward(s, q, k, v, out, dq, dk, dv); });
  suite.add("attention target" + of, "GFLOP/s", 6 * product, [=] {
    const AttentionTarget target{out, k, s.num_kv_heads, s.head_dim, 1.0};
    causal_attention_backward(s, q, k, v, out, dq, dk, dv, &target);
  });
}

/// Bytes are those of each tensor once, read or written, twice when changed in place.
void add_elementwise(Suite& suite, DType type, Index n, Index d) {
  const auto stream = suite.tensor(DType::f32, n, d).view(), d_stream = suite.tensor(DType::f32, n, d).view();
  const auto a = suite.tensor(type, n, d).view(), b = suite.tensor(type, n, d).view(),
             c = suite.tensor(type, n, d).view(), e = suite.tensor(type, n, d).view();
  const auto gain = suite.tensor(DType::f32, 1, d).view(), bias = suite.tensor(DType::f32, 1, d).view();
  const double wide = 4e-9 * static_cast<double>(n * d), own = 1e-9 * static_cast<double>(size_of(type) * n * d);
  const std::string of = " " + std::string(to_string(type)) + " " + std::to_string(n) + "x" + std::to_string(d);
  suite.add("copy" + of, "GB/s", 2 * own, [=] { convert(a, b); });
  suite.add("add_bias" + of, "GB/s", 2 * own, [=] { add_bias(bias, a); });
  suite.add("layer_norm" + of, "GB/s", wide + own, [=] { layer_norm(stream, gain, bias, 1e-5, a); });
  suite.add("layer_norm_backward" + of, "GB/s", 3 * wide + own,
            [=] { layer_norm_backward(stream, gain, 1e-5, a, d_stream, gain, bias); });
  suite.add("rms_norm_backward" + of, "GB/s", 3 * wide + own,
            [=] { rms_norm_backward(stream, gain, 1e-5, a, d_stream, gain); });
  suite.add("gelu" + of, "GB/s", 2 * own, [=] { gelu(bias, a, b); });
  suite.add("gelu_backward" + of, "GB/s", 4 * own, [=] { gelu_backward(bias, a, b, c); });
  suite.add("silu_times" + of, "GB/s", 3 * own, [=] { silu_times(a, e, b); });
  suite.add("silu_times_backward" + of, "GB/s", 6 * own,
            [=] { silu_times_backward(a, e, b, c, d_stream.dtype == type ? d_stream : e); });
  suite.add("add_column_sums" + of, "GB/s", own, [=] { add_column_sums(a, bias); });
}

void add_tables(Suite& suite) {
  constexpr Index n = 2048, d = 768, vocabulary = 50257;
  const auto dy = suite.tensor(DType::f32, n, d).view(), table = suite.tensor(DType::f32, vocabulary, d).view();
  std::vector<std::int32_t> ids;
  std::uint32_t state = 1;
  for (Index i = 0; i < n; ++i) {
    state = state * 1664525U + 1013904223U;
    ids.push_back(static_cast<std::int32_t>((state >> 8) % vocabulary));
  }
  suite.add("scatter_add_rows f32", "GB/s", 12e-9 * n * d, [=] { scatter_add_rows(ids, dy, table); });
  suite.add("add_position_gradient f32", "GB/s", 4e-9 * (n + 512) * d, [=] { add_position_gradient(256, dy, table); });
}

}  // namespace

int main(int argc, char** argv) {
  Suite suite(argc > 2 ? argv[2] : "");
  for (const DType type : {DType::f32, DType::bf16}) {
    add_attention(suite, type, {4, 256, 12, 12, 64});
    add_attention(suite, type, {4, 512, 9, 3, 64});
    add_elementwise(suite, type, 2048, 768);
    add_elementwise(suite, type, 2048, 3072);
  }
  add_tables(suite);
  suite.run(argc > 1 ? std::max(1, std::atoi(argv[1])) : 9);
  return 0;
}
