#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "experiments/commands.hpp"
#include "experiments/pipeline/evaluation_text.hpp"
#include "experiments/pipeline/shared_hash.hpp"
#include "framework/eval/divergence.hpp"

namespace kronlab::experiments {
namespace {

eval::Protocol protocol_of(const EvalArguments& a) {
  eval::Protocol protocol;
  if (a.last_word) protocol.kind = eval::Protocol::Kind::last_word;
  protocol.window = a.window;
  protocol.stride = a.stride.value_or(a.window);
  if (a.join == "rows") protocol.join = eval::Protocol::Join::rows;
  if (a.average == "windows") protocol.average = eval::Protocol::Average::windows;
  if (a.tail == "drop") protocol.tail = eval::Protocol::Tail::drop;
  if (a.normaliser == "word") protocol.normaliser = eval::Protocol::Normaliser::word;
  return protocol;
}

nlohmann::json to_json(const eval::Divergence& d) {
  const auto with_error = [](const MeanLoss& mean) { return nlohmann::json{{"mean", mean.mean}, {"standard_error", mean.standard_error}}; };
  nlohmann::json shares = nlohmann::json::array();
  for (std::size_t i = 0; i < std::size(eval::Divergence::shares); ++i) {
    shares.push_back({{"share", eval::Divergence::shares[i]}, {"kl", d.kl_at[i]}, {"probability_change", d.probability_change_at[i]}});
  }
  return {{"kl", with_error(d.kl)},
          {"jsd", with_error(d.jsd)},
          {"top1_agreement", with_error(d.top1_agreement)},
          {"top5_agreement", with_error(d.top5_agreement)},
          {"probability_change", with_error(d.probability_change)},
          {"probability_change_rms", d.probability_change_rms},
          {"at_shares", std::move(shares)}};
}

void print(const eval::Divergence& d) {
  fmt::print("KL divergence     {:.6f} ± {:.6f} nat/token\n", d.kl.mean, d.kl.standard_error);
  fmt::print("JS divergence     {:.6f} ± {:.6f} nat/token\n", d.jsd.mean, d.jsd.standard_error);
  fmt::print("same first token  {:.2f} ± {:.2f} %\n", 100 * d.top1_agreement.mean, 100 * d.top1_agreement.standard_error);
  fmt::print("shared of five    {:.2f} ± {:.2f} %\n", 100 * d.top5_agreement.mean, 100 * d.top5_agreement.standard_error);
  fmt::print("change of p       {:+.3f} ± {:.3f} % of the text's tokens, root mean square {:.3f} %\n", 100 * d.probability_change.mean,
             100 * d.probability_change.standard_error, 100 * d.probability_change_rms);
  fmt::print("share of tokens  ");
  for (const double share : eval::Divergence::shares) fmt::print(" {:>9.3g} %", 100 * share);
  fmt::print("\n  KL at most     ");
  for (const double kl : d.kl_at) fmt::print(" {:>11.5f}", kl);
  fmt::print("\n  change of p    ");
  for (const double change : d.probability_change_at) fmt::print(" {:>9.3f} %", 100 * change);
  fmt::print("\n");
}

void print(const EvalArguments& a, const eval::Protocol& protocol, const eval::Evaluation& e, const std::optional<eval::Divergence>& divergence,
           const std::string& model_hash, const std::string& data_hash) {
  const bool is_by_word = a.last_word || a.normaliser == "word";
  if (a.as_json) {
    nlohmann::json result = {{"perplexity", e.perplexity},         {"mean_nll", e.mean_nll},
                             {"standard_error", e.standard_error}, {"top1_accuracy", e.top1_accuracy},
                             {"predicted_tokens", e.predicted_tokens},
                             {"windows", e.windows.size()},        {"tokens_per_second", e.tokens_per_second()},
                             {"precision", a.precision},           {"protocol", protocol.name()},
                             {"model_hash", model_hash},           {"data_hash", data_hash}};
    if (divergence) result["divergence"] = to_json(*divergence);
    fmt::print("{}\n", result.dump(2));
    return;
  }
  fmt::print("perplexity        {:.4f} ± {:.4f}\n", e.perplexity, e.perplexity_standard_error());
  fmt::print("mean loss         {:.6f} ± {:.6f} nat/{}\n", e.mean_nll, e.standard_error, is_by_word ? "word" : "token");
  fmt::print("{}  {:.4f}\n", a.last_word ? "right last words" : "top-1 accuracy  ", e.top1_accuracy);
  fmt::print("predicted tokens  {} in {} {}\n", e.predicted_tokens, e.windows.size(), a.last_word ? "passages" : "windows");
  fmt::print("speed             {:.0f} token/s ({})\n", e.tokens_per_second(), a.precision);
  fmt::print("protocol          {}\n", protocol.name());
  if (divergence) print(*divergence);
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
  const auto text = tokenised_text(world, access, name, arguments.text, protocol);
  const auto model = comm::coordinate(world, [&] { return access.load(); });
  const auto result =
      eval::evaluate(world, model, text, protocol, arguments.max_windows, precision, "evaluating " + name);
  std::optional<eval::Divergence> divergence;
  if (!arguments.reference.empty()) {
    const auto reference = comm::coordinate(world, [&] { return ModelAccess(arguments.reference).load(); });
    divergence = eval::divergence(world, model, reference, text, protocol, arguments.max_windows, precision, "comparing with " + arguments.reference);
  }
  const auto model_hash = hash_of_model(world, access.files()), data_hash = hashes_of_files(world, {arguments.text}).front();
  comm::coordinate(world, [&] {
    if (world.is_root()) print(arguments, protocol, result, divergence, model_hash, data_hash);
  });
  return 0;
}

}  // namespace kronlab::experiments
