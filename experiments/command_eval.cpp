#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "experiments/commands.hpp"
#include "experiments/pipeline/measurement.hpp"
#include "experiments/pipeline/shared_hash.hpp"

namespace kronlab::experiments {
namespace {

eval::Protocol protocol_of(const EvalArguments& a) {
  eval::Protocol protocol;
  protocol.window = a.window;
  protocol.stride = a.stride.value_or(a.window);
  if (a.join == "rows") protocol.join = eval::Protocol::Join::rows;
  if (a.average == "windows") protocol.average = eval::Protocol::Average::windows;
  if (a.tail == "drop") protocol.tail = eval::Protocol::Tail::drop;
  if (a.normaliser == "word") protocol.normaliser = eval::Protocol::Normaliser::word;
  return protocol;
}

void print(const EvalArguments& a, const eval::Protocol& protocol, const eval::Evaluation& e,
           const std::string& model_hash, const std::string& data_hash) {
  if (a.as_json) {
    const nlohmann::json result = {{"perplexity", e.perplexity},         {"mean_nll", e.mean_nll},
                                   {"standard_error", e.standard_error}, {"predicted_tokens", e.predicted_tokens},
                                   {"windows", e.windows.size()},           {"tokens_per_second", e.tokens_per_second()},
                                   {"precision", a.precision},           {"protocol", protocol.name()},
                                   {"model_hash", model_hash},           {"data_hash", data_hash}};
    fmt::print("{}\n", result.dump(2));
    return;
  }
  fmt::print("perplexity        {:.4f} ± {:.4f}\n", e.perplexity, e.perplexity_standard_error());
  fmt::print("mean loss         {:.6f} ± {:.6f} nat/{}\n", e.mean_nll, e.standard_error, a.normaliser);
  fmt::print("top-1 accuracy    {:.4f}\n", e.top1_accuracy);
  fmt::print("predicted tokens  {} in {} windows\n", e.predicted_tokens, e.windows.size());
  fmt::print("speed             {:.0f} token/s ({})\n", e.tokens_per_second(), a.precision);
  fmt::print("protocol          {}\n", protocol.name());
}

}  // namespace

int eval(const comm::Communicator& world, const EvalArguments& arguments) {
  const auto protocol = protocol_of(arguments);
  const auto access = comm::coordinate(world, [&] {
    ModelAccess opened(arguments.model);
    protocol.expect_valid(opened.config().context);
    return opened;
  });
  const auto precision = model::precision_from(arguments.precision);
  const std::string name = std::filesystem::path(arguments.text).filename().string();
  const auto text = tokenised_text(world, access, name, arguments.text, protocol.join);
  const auto model = comm::coordinate(world, [&] { return access.load(); });
  const auto result =
      eval::evaluate(world, model, text, protocol, arguments.max_windows, precision, "evaluating " + name);
  const auto model_hash = hash_of_model(world, access.files()), data_hash = hashes_of_files(world, {arguments.text}).front();
  comm::coordinate(world, [&] {
    if (world.is_root()) print(arguments, protocol, result, model_hash, data_hash);
  });
  return 0;
}

}  // namespace kronlab::experiments
