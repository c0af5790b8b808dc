// What free permutations of an MLP's hidden units are worth, and what the gathers that they save cost in time.
//   bench_absorb GGUF BLOCK... as SmolLM2.gguf 10 20
// Blocks of 2x4, 4 terms. Relative error of gate, up and down: unpermuted; each with rows and columns of its own (4 gathers
// on the hidden axis and 3 on the other); one order of the hidden units for all three (no gather); that and own orders of the
// other axis (3 gathers). Before them, microseconds of each layer on 1024 tokens with and without its gathers.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "decompositions/decomposer.hpp"
#include "decompositions/permutation/kronecker_objective.hpp"
#include "decompositions/permutation/permutation_search.hpp"
#include "decompositions/permutation/shared_axis_objective.hpp"
#include "decompositions/permuted.hpp"
#include "framework/base/progress.hpp"
#include "framework/storage/gguf.hpp"

namespace {

using namespace kronlab;
using namespace kronlab::decompositions;

const GroupingProblem blocks{2, 4, 4};

struct Layer {
  std::string name;
  Axis hidden;
  Matrix<double> weight;
};

std::vector<Layer> mlp_of(const storage::GgufFile& file, const std::string& block) {
  std::vector<Layer> layers;
  for (const char* name : {"gate", "up", "down"}) {
    const std::string tensor = "blk." + block + ".ffn_" + name + ".weight";
    Tensor weight(DType::f32, file.tensors().at(tensor).shape);
    file.read(tensor, weight.view(), [](Index i) { return i; });
    layers.push_back({name, std::string(name) == "down" ? Axis::columns : Axis::rows, to_matrix<double>(weight.view())});
  }
  return layers;
}

void print(const char* what, const std::vector<double>& values, double started) {
  std::printf("  %-28s", what);
  for (const double value : values) std::printf("  %.4f", std::sqrt(std::max(1 - value, 0.0)));
  std::printf("  %6.1f s\n", now_s() - started);
  std::fflush(stdout);
}

/// Median of several runs, in microseconds.
double microseconds(const linalg::LinearOperator& layer, const Tensor& x, Tensor& y) {
  std::vector<double> times;
  for (int i = 0; i < 25; ++i) {
    const double started = now_s();
    layer.apply(x.view(), y.view());
    times.push_back(1e6 * (now_s() - started));
  }
  std::ranges::nth_element(times, times.begin() + 12);
  return times[12];
}

void time_gathers(const Layer& layer) {
  KroneckerOptions options;
  options.right_rows = blocks.right_rows, options.right_cols = blocks.right_cols, options.num_terms = blocks.num_terms;
  Tensor weight(DType::f32, {layer.weight.rows(), layer.weight.cols()});
  convert(layer.weight.view(), weight.view());
  const auto plain = make_kronecker_decomposer(options)->decompose(layer.name, weight.view(), {}).factorization;
  const auto rows = RandomStream(1).permutation(weight.rows()), columns = RandomStream(2).permutation(weight.cols());
  const Permuted both(plain->copy(), rows, columns), only_rows(plain->copy(), rows, {}), only_columns(plain->copy(), {}, columns);
  Tensor x(DType::f32, {1024, weight.cols()}), y(DType::f32, {1024, weight.rows()});
  RandomStream random(3);
  for (float& value : x.values<float>()) value = static_cast<float>(random.normal());
  const double base = microseconds(*plain, x, y);
  const auto more = [&](const Permuted& permuted) { return 100 * (microseconds(permuted, x, y) / base - 1); };
  std::printf("  %-5s %6.0f us for 1024 tokens; gathers of rows %+.1f %%, of columns %+.1f %%, of both %+.1f %%\n", layer.name.c_str(), base,
              more(only_rows), more(only_columns), more(both));
}

void compare(const storage::GgufFile& file, const std::string& block) {
  const auto layers = mlp_of(file, block);
  for (const auto& layer : layers) time_gathers(layer);
  std::printf("block %s: relative error of gate, up, down\n", block.c_str());
  std::vector<KroneckerObjective> objectives;
  objectives.reserve(layers.size());
  for (const auto& layer : layers) objectives.emplace_back(layer.weight.view(), blocks);
  const auto search = make_portfolio_search({});
  double started = now_s();
  std::vector<double> values;
  for (const auto& objective : objectives) values.push_back(objective.value(identity_grouping(objective)));
  print("unpermuted", values, started);

  started = now_s();
  values.clear();
  for (const auto& objective : objectives) values.push_back(search->search("own", objective, RandomStream(1)).value);
  print("own rows and columns", values, started);

  started = now_s();
  std::vector<SharedAxisPart> parts;
  for (std::size_t l = 0; l < layers.size(); ++l)
    parts.push_back({&objectives[l], layers[l].hidden, identity_grouping(objectives[l]).of(other_axis(layers[l].hidden))});
  const auto values_of = [&](const SharedAxisObjective& shared, const std::vector<Index>& order) {
    std::vector<double> result;
    for (std::size_t l = 0; l < layers.size(); ++l) result.push_back(objectives[l].value(shared.grouping_of(l, order)));
    return result;
  };
  {
    const SharedAxisObjective shared(parts);
    print("one order of hidden units", values_of(shared, search->search("hidden", shared, RandomStream(1)).rows), started);
  }
  started = now_s();
  std::vector<Index> hidden = norm_sorted_grouping(SharedAxisObjective(parts)).rows;
  for (std::size_t l = 0; l < layers.size(); ++l) parts[l].other = norm_sorted_grouping(objectives[l]).of(other_axis(layers[l].hidden));
  for (int round = 0; round < 3; ++round) {
    hidden = search->search("hidden", SharedAxisObjective(parts), RandomStream(1)).rows;
    for (std::size_t l = 0; l < layers.size(); ++l) {
      const SharedAxisObjective own({{&objectives[l], other_axis(layers[l].hidden), hidden}});
      parts[l].other = search->search("other", own, RandomStream(1)).rows;
    }
    print("... and own other axes", values_of(SharedAxisObjective(parts), hidden), started);
  }
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 3) {
    std::fprintf(stderr, "bench_absorb GGUF BLOCK...\n");
    return 2;
  }
  const storage::GgufFile file(argv[1]);
  for (int a = 2; a < argc; ++a) compare(file, argv[a]);
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
