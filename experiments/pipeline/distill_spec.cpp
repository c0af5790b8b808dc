#include "experiments/pipeline/distill_spec.hpp"

#include <algorithm>
#include <cmath>

#include "experiments/pipeline/layer_pattern.hpp"

namespace kronlab::experiments {
namespace {

using config::StrictTable;

void read_length(const StrictTable& table, DistillSpec& spec) {
  spec.steps = table.find_integer("steps", config::count_from(1));
  spec.tokens = table.find_integer("tokens", {.least = 1, .most = Index{1} << 50});
  spec.epochs = table.find_number("epochs", {.least = 1e-9, .most = 1e9});
  if (spec.steps.has_value() + spec.tokens.has_value() + spec.epochs.has_value() != 1) {
    table.fail("steps", "give exactly one of steps, epochs, tokens");
  }
}

void read_batch(const StrictTable& table, const TrainingTextSpec& text, distill::TrainerOptions& trainer) {
  trainer.window = text.window;
  trainer.micro_batch = table.integer("micro_batch", trainer.micro_batch, config::count_from(1));
  const Index in_micro_batch = trainer.micro_batch * text.window;
  const Index batch_tokens = table.integer("batch_tokens", in_micro_batch, config::count_from(1));
  if (batch_tokens % in_micro_batch != 0) {
    table.fail("batch_tokens", fmt::format("{} is not a multiple of micro_batch ({}) x data.distillation.window ({}) = {} tokens", batch_tokens,
                                           trainer.micro_batch, text.window, in_micro_batch));
  }
  trainer.num_micro_batches = batch_tokens / in_micro_batch;
}

void read_optimizer(const StrictTable& table, DistillSpec& spec) {
  const auto optimizer = table.table_or_empty("optimizer");
  optimizer.choice("kind", {"adamw"}, "adamw");
  auto& adamw = spec.trainer.adamw;
  adamw.beta1 = optimizer.number("beta1", adamw.beta1, {.least = 0.0, .most = 0.999999});
  adamw.beta2 = optimizer.number("beta2", adamw.beta2, {.least = 0.0, .most = 0.999999});
  adamw.epsilon = optimizer.number("epsilon", adamw.epsilon, {.least = 0.0});
  spec.weight_decay = optimizer.number("weight_decay", spec.weight_decay, {.least = 0.0});
  spec.trainer.clip_norm = optimizer.number("clip_norm", spec.trainer.clip_norm, {.least = 0.0});
  for (const auto& group : optimizer.tables("group")) {
    spec.groups.push_back({patterns_from(group, "parameters"), group.number("rate_factor", 1.0, {.least = 0.0}), group.find_number("weight_decay", {.least = 0.0})});
  }
}

void read_checkpoints(const StrictTable& table, DistillSpec::Checkpoints& spec) {
  const auto checkpoint = table.table_or_empty("checkpoint");
  spec.every_steps = checkpoint.integer("every_steps", spec.every_steps, config::count_from(0));
  spec.every_minutes = checkpoint.number("every_minutes", spec.every_minutes, {.least = 0.0});
  spec.keep = checkpoint.integer("keep", spec.keep, config::count_from(1));
}

/// "all", "factors", or patterns.
void read_train(const StrictTable& table, DistillSpec& spec) {
  const auto names = table.has("train") ? patterns_from(table, "train") : std::vector<std::string>{"all"};
  table.resolve("train", config::Value(config::Value::Array(names.begin(), names.end())));
  if (names.size() == 1 && names[0] == "all") return;
  if (names.size() == 1 && names[0] == "factors") {
    spec.train = DistillSpec::Train::factors;
    return;
  }
  spec.train = DistillSpec::Train::listed;
  spec.listed = names;
}

}  // namespace

std::vector<std::string> patterns_from(const StrictTable& table, const std::string& key) {
  auto patterns = table.texts(key);
  for (const auto& pattern : patterns) {
    try {
      expect_layer_pattern(pattern);
    } catch (const ConfigError& error) {
      table.fail(key, error.what());
    }
  }
  return patterns;
}

DistillSpec DistillSpec::from(const StrictTable& table, const TrainingTextSpec& text) {
  DistillSpec spec;
  read_length(table, spec);
  spec.losses = distill::LossOptions::from(table);
  read_batch(table, text, spec.trainer);
  spec.rate = table.number("lr", {.least = 0.0});
  spec.rate_unit = table.choice("lr_unit", {"absolute", "rms"}, "absolute") == "rms" ? RateUnit::rms : RateUnit::absolute;
  spec.schedule = distill::Schedule::from(table.table_or_empty("schedule"));
  read_optimizer(table, spec);
  read_train(table, spec);
  spec.teacher = table.choice("teacher", {"dense", "previous"}, "dense") == "previous" ? Teacher::previous : Teacher::dense;
  spec.validate_every = table.integer("validate_every", 0, config::count_from(0));
  spec.patience = table.integer("patience", 0, config::count_from(0));
  spec.result = table.choice("result", {"last", "best"}, spec.patience > 0 ? "best" : "last") == "best" ? Result::best : Result::last;
  if (spec.validate_every == 0 && (spec.patience > 0 || spec.result == Result::best)) table.fail("patience", "needs validate_every");
  if (spec.validate_every > 0 && text.holdout == 0) table.fail("validate_every", "there is nothing to validate on: give data.distillation.holdout");
  spec.max_skipped = table.integer("max_skipped", spec.max_skipped, config::count_from(1));
  spec.trainer.recompute = table.flag("recompute", false) ? model::Recompute::blocks : model::Recompute::none;
  spec.trainer.shard_optimizer = table.flag("shard_optimizer", true);
  read_checkpoints(table, spec.checkpoints);
  return spec;
}

Index DistillSpec::num_steps(Index num_windows) const {
  if (steps) return *steps;
  const double windows = tokens ? static_cast<double>(*tokens) / static_cast<double>(trainer.window) : *epochs * static_cast<double>(num_windows);
  return std::max<Index>(1, static_cast<Index>(std::ceil(windows / static_cast<double>(trainer.windows_per_step()) - 1e-9)));
}

}  // namespace kronlab::experiments
