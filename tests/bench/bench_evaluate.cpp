// Evaluation speed and memory: tokens per second of a model on a text, several rounds, one line each.
//   [mpirun -n N] bench_evaluate MODEL TEXT PRECISION WINDOWS [ROUNDS]
// Prints the median as `tokens_per_second`, the bound that products set (`products_per_second`: the model's own
// products at the rate of the same shapes alone, measured between the rounds), `roofline_per_second` (attention's too
// at that rate) and `memory_beyond_weights_mib` per rank.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <utility>
#include <vector>

#include "framework/base/hash.hpp"
#include "framework/base/progress.hpp"
#include "framework/comm/communicator.hpp"
#include "framework/eval/evaluator.hpp"
#include "framework/model/tokenizer.hpp"
#include "framework/storage/model_files.hpp"
#include "tests/bench/measurement.hpp"

namespace {

using namespace kronlab;
using bench::median;

/// Seconds of all products of one window, nothing between them: the weights are those of the model.
double seconds_of_products(const model::Transformer& model, Index length, model::Precision precision) {
  model::Workspace workspace(precision);
  const auto random = [&](std::size_t slot, Index cols, DType type) {
    const TensorView view = workspace.buffer(slot, length, cols, type);
    Tensor values(DType::f32, {length, cols});
    float x = 0.5f;
    for (float& v : values.values<float>()) v = x = 3.9f * x * (1 - x);
    convert(std::as_const(values).view(), view);
    return view;
  };
  std::map<Index, TensorView> inputs;
  for (const auto& layer : model.layers()) {
    if (!inputs.contains(layer.cols))
      inputs.emplace(layer.cols, random(inputs.size(), layer.cols, workspace.activation_type()));
  }
  const double started = now_s();
  for (const auto& layer : model.layers()) {
    const bool is_head = layer.name == "lm_head" || (layer.block < 0 && model.config().tied_head);
    if (layer.block < 0 && !is_head) continue;
    const auto weight = model.layer(layer.name);
    const Index width = is_head ? std::min<Index>(2048, layer.rows) : layer.rows;
    const DType type = is_head ? workspace.stream_type() : workspace.activation_type();
    for (Index first = 0; first < layer.rows; first += width) {
      const TensorView y = workspace.buffer(30, length, std::min(width, layer.rows - first), type);
      if (is_head) {
        weight->apply_slice(inputs.at(layer.cols), first, y);
      } else {
        weight->apply(inputs.at(layer.cols), y);
      }
    }
  }
  return now_s() - started;
}

/// Operations of the products over those of products and causal attention: at one rate for both, the share of the time.
double share_of_products(const model::ModelConfig& config, const model::Transformer& model, Index length) {
  double products = 0;
  for (const auto& layer : model.layers()) products += 2.0 * static_cast<double>(layer.rows * layer.cols);
  const double keys = static_cast<double>(length + 1) / 2;
  const double attention = 4.0 * keys * static_cast<double>(config.num_heads * config.head_dim * config.num_blocks);
  return products / (products + attention);
}

int run_benchmark(int argc, char** argv, const comm::Communicator& world) {
  if (argc < 5) {
    std::fprintf(stderr, "usage: %s MODEL TEXT fp32|bf16 WINDOWS [ROUNDS]\n", argv[0]);
    return 2;
  }
  silence_log();
  const std::string path = argv[1];
  const auto precision = model::precision_from(argv[3]);
  const Index num_windows = std::atoi(argv[4]);
  const int rounds = argc > 5 ? std::atoi(argv[5]) : 3;
  const auto files = storage::ModelFiles::open(path);
  model::TokenizerFiles tokenizer_files;
  tokenizer_files.tokenizer_json = files->text("tokenizer.json").value();
  const eval::TokenisedText text{argv[2], model::make_tokenizer(tokenizer_files)->encode(read_text_file(argv[2])), 0};
  const auto model = model::Transformer::load(model::ModelConfig::from_json(files->text("config.json").value(), path),
                                              files->tensors());
  const double weights_mib = static_cast<double>(model.num_parameters()) * 4 / (1 << 20);

  const eval::Protocol protocol;
  eval::evaluate(world, model, text, protocol, world.size(), precision, "warm-up");
  std::vector<double> speeds, bounds;
  double loss = 0;
  for (int round = 0; round < rounds; ++round) {
    const auto result = eval::evaluate(world, model, text, protocol, num_windows, precision, "round");
    loss = result.mean_nll;
    speeds.push_back(result.tokens_per_second());
    if (world.size() == 1)
      bounds.push_back(static_cast<double>(protocol.window) / seconds_of_products(model, protocol.window, precision));
  }
  const double memory = world.max(bench::peak_memory().without_files_mib - weights_mib);
  if (world.is_root()) {
    std::printf("tokens_per_second %.1f\n", median(speeds));
    if (!bounds.empty()) {
      const double products = median(bounds);
      std::printf("products_per_second %.1f\n", products);
      std::printf("roofline_per_second %.1f\n", products * share_of_products(model.config(), model, protocol.window));
    }
    std::printf("mean_nll %.7f\nweights_mib %.1f\nmemory_beyond_weights_mib %.1f\n", loss, weights_mib, memory);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return kronlab::comm::run(argc, argv,
                            [&](const kronlab::comm::Communicator& world) { return run_benchmark(argc, argv, world); });
}
