#include "experiments/pipeline/experiment_spec.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "experiments/pipeline/shared_distill.hpp"

namespace kronlab::experiments {
namespace {

using config::StrictTable;
using config::Value;

/// Replaces $NAME and ${NAME} by the environment's values.
std::string with_variables(const StrictTable& table, const std::string& key, const std::string& text) {
  std::string result;
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] != '$') {
      result += text[i++];
      continue;
    }
    const bool braced = i + 1 < text.size() && text[i + 1] == '{';
    const std::size_t begin = i + (braced ? 2 : 1);
    std::size_t end = begin;
    while (end < text.size() && (std::isalnum(static_cast<unsigned char>(text[end])) || text[end] == '_')) ++end;
    const std::string name = text.substr(begin, end - begin);
    if (name.empty() || (braced && (end == text.size() || text[end] != '}')))
      table.fail(key, fmt::format("'{}': a '$' without the name of a variable", text));
    const char* value = std::getenv(name.c_str());
    if (!value) table.fail(key, fmt::format("'{}': the environment has no variable {}", text, name));
    result += value;
    i = end + (braced ? 1 : 0);
  }
  return result;
}

/// One or more paths, made absolute.
std::vector<std::string> paths_from(const StrictTable& table, const std::string& folder, const std::string& key = "path") {
  std::vector<std::string> paths;
  for (const auto& text : table.texts(key)) {
    const std::filesystem::path path = with_variables(table, key, text);
    if (path.empty()) table.fail(key, "the path is empty");
    paths.push_back((path.is_absolute() ? path : std::filesystem::absolute(folder) / path).lexically_normal().string());
  }
  table.resolve(key, paths.size() == 1 ? Value(paths.front()) : Value(Value::Array(paths.begin(), paths.end())));
  return paths;
}

std::string path_from(const StrictTable& table, const std::string& folder, const std::string& key = "path") {
  table.text(key);
  return paths_from(table, folder, key).front();
}

TextSpec text_from(const StrictTable& table, const std::string& folder) {
  TextSpec spec;
  spec.paths = paths_from(table, folder);
  spec.tokens = table.integer("tokens", spec.tokens, config::count_from(2));
  spec.window = table.integer("window", spec.window, config::count_from(2));
  if (spec.tokens < spec.window)
    table.fail("tokens", fmt::format("{} are fewer than one window of {}", spec.tokens, spec.window));
  return spec;
}

EvaluationSpec evaluation_from(const StrictTable& table, const std::string& folder) {
  EvaluationSpec spec;
  const auto dataset = table.table("dataset");
  spec.path = path_from(dataset, folder);
  spec.name = dataset.text("name", std::filesystem::path(spec.path).stem().string());
  spec.protocol = protocol_from(table.table_or_empty("protocol"));
  spec.max_windows = table.integer("max_windows", 0, config::count_from(0));
  spec.divergence = table.has("divergence") && table.flag("divergence", false);  // not among the defaults: cells stay what they were
  spec.expect_dense = table.find_number("expect_dense", {.least = 1.0});
  spec.expect_tolerance = table.number("expect_tolerance", spec.expect_tolerance, {.least = 0.0, .most = 1.0});
  return spec;
}

PartSpec part_from(const StrictTable& table, bool has_calibration) {
  PartSpec spec;
  spec.layers = patterns_from(table, "layers");
  spec.decomposer = decompositions::decomposer_from(table.table("decompose"));
  spec.method = spec.decomposer->kind();
  if (const auto permute = table.find_table("permute")) {
    spec.search = decompositions::search_from(*permute);
    spec.method = fmt::format("{}({})", spec.search->absorbs ? "absorbed" : "permuted", spec.method);
  }
  if (spec.needs_statistics() && !has_calibration) {
    table.fail("decompose",
               fmt::format("{} needs statistics of the layers' inputs: give data.calibration", spec.method));
  }
  return spec;
}

SensitivitySpec sensitivity_from(const StrictTable& table, const std::string& folder) {
  SensitivitySpec spec;
  spec.text.paths = {path_from(table, folder)};
  spec.text.tokens = table.integer("tokens", 4096, config::count_from(2));
  spec.text.window = table.integer("window", 512, config::count_from(2));
  if (spec.text.tokens < spec.text.window) table.fail("tokens", fmt::format("{} are fewer than one window of {}", spec.text.tokens, spec.text.window));
  spec.by = table.choice("by", {"layer", "block"}, "layer") == "block" ? SensitivitySpec::By::block : SensitivitySpec::By::layer;
  return spec;
}

StageSpec stage_from(const StrictTable& table, const ExperimentSpec& experiment, const std::string& folder) {
  StageSpec spec;
  spec.name = table.text("name", fmt::format("stage {}", experiment.stages.size()));
  spec.predicted_kl = table.find_number("predicted_kl");
  const bool has_calibration = experiment.calibration.has_value();
  for (const auto& part : table.tables("part")) spec.parts.push_back(part_from(part, has_calibration));
  if (const auto distill = table.find_table("distill")) {
    if (!experiment.training_text) table.fail("distill", "there is no text to train on: give data.distillation");
    spec.distill = DistillSpec::from(*distill, *experiment.training_text);
  }
  const bool decomposes = table.has("layers") || table.has("decompose") || table.has("permute");
  if (spec.parts.empty() && (decomposes || !spec.distill)) spec.parts.push_back(part_from(table, has_calibration));
  if (const auto sensitivity = table.find_table("sensitivity")) {
    if (spec.parts.empty()) table.fail("sensitivity", "is of layers that the stage decomposes: it has none");
    const auto absorbs = [](const PartSpec& part) { return part.search && part.search->absorbs; };
    if (std::ranges::any_of(spec.parts, absorbs)) table.fail("sensitivity", "each layer is changed alone, but absorb = true moves the hidden units of several together");
    spec.sensitivity = sensitivity_from(*sensitivity, folder);
  }
  return spec;
}

TrainingTextSpec training_text_from(const StrictTable& table, const std::string& folder) {
  TrainingTextSpec spec;
  spec.paths = paths_from(table, folder);
  spec.weights = table.has("weights") ? table.numbers("weights") : std::vector<double>(spec.paths.size(), 1.0);
  if (spec.weights.size() != spec.paths.size()) table.fail("weights", fmt::format("{} weights for {} files", spec.weights.size(), spec.paths.size()));
  for (const double weight : spec.weights) {
    if (!(weight > 0)) table.fail("weights", fmt::format("a weight of {}, expected more than 0", weight));
  }
  spec.window = table.integer("window", spec.window, config::count_from(2));
  spec.holdout = table.integer("holdout", spec.holdout, config::count_from(0));
  return spec;
}

StudentSpec student_from(const StrictTable& table, const std::string& folder) {
  StudentSpec spec;
  if (table.has("config")) spec.config = path_from(table, folder, "config");
  if (table.has("blocks")) spec.blocks = table.integers("blocks");
  const bool is_random = table.choice("init", {"model", "random"}, spec.config.empty() ? "model" : "random") == "random";
  spec.init = is_random ? StudentSpec::Init::random : StudentSpec::Init::model;
  if (!spec.config.empty() && !is_random) table.fail("init", "a student of its own shape has no weights of the model: init = \"random\"");
  if (is_random && !spec.blocks.empty()) table.fail("blocks", "are the model's, and the student's weights are random");
  return spec;
}

/// Keys that name things, say where they lie, or how a result is computed without changing it.
bool is_word(const std::string& key) {
  for (const char* word : {"name", "question", "paper", "path", "config", "expect_dense", "expect_tolerance", "memory_mb", "checkpoint", "recompute", "predicted_kl", "budget",
                           "shard_optimizer"}) {
    if (key == word) return true;
  }
  return false;
}

Value without_words(const Value& value) {
  if (const auto* array = value.as<Value::Array>()) {
    Value::Array items;
    for (const Value& item : *array) items.push_back(without_words(item));
    return Value(std::move(items));
  }
  const auto* table = value.as<Value::Table>();
  if (!table) return value;
  Value::Table entries;
  for (const auto& [key, item] : *table) {
    if (!is_word(key)) entries[key] = without_words(item);
  }
  return Value(std::move(entries));
}

}  // namespace

std::string StudentSpec::start() const {
  if (init == Init::random) return "random weights";
  return blocks.empty() ? "" : fmt::format("{} blocks of the model", blocks.size());
}

bool PartSpec::needs_statistics() const {
  return decomposer->needs_input_moments() || (search && search->needs_input_moments());
}

decompositions::GradientMoments PartSpec::gradient_moments() const {
  const auto by_search = search ? search->needed_gradient_moments() : decompositions::GradientMoments::none;
  return std::max(decomposer->needed_gradient_moments(), by_search);  // in the order none, diagonal, full
}

eval::Protocol protocol_from(const StrictTable& table) {
  using eval::Protocol;
  Protocol protocol;
  const std::string kind = table.choice("kind", {"token-perplexity", "word-perplexity", "last-word"}, "token-perplexity");
  protocol.normaliser = kind == "word-perplexity" ? Protocol::Normaliser::word : Protocol::Normaliser::token;
  protocol.window = table.integer("window", protocol.window, config::count_from(2));
  if (kind == "last-word") {
    protocol.kind = Protocol::Kind::last_word;
    protocol.stride = protocol.window;
    return protocol;
  }
  protocol.stride = table.integer("stride", protocol.window, {.least = 1, .most = protocol.window});
  protocol.join =
      table.choice("join", {"none", "rows"}, "none") == "rows" ? Protocol::Join::rows : Protocol::Join::none;
  protocol.average = table.choice("average", {"tokens", "windows"}, "tokens") == "windows" ? Protocol::Average::windows
                                                                                           : Protocol::Average::tokens;
  protocol.tail =
      table.choice("tail", {"keep", "drop"}, "keep") == "drop" ? Protocol::Tail::drop : Protocol::Tail::keep;
  return protocol;
}

ExperimentSpec ExperimentSpec::read(const Value& run, const std::string& folder) {
  const StrictTable root(with_shared_distill(run));
  ExperimentSpec spec;
  const auto experiment = root.table("experiment");
  spec.name = experiment.text("name");
  if (spec.name.empty()) experiment.fail("name", "is empty");
  spec.question = experiment.text("question", "");
  spec.paper = experiment.text("paper", "");
  spec.seed = static_cast<std::uint64_t>(experiment.integer("seed", 0, {.least = 0}));
  spec.precision = model::precision_from(experiment.choice("precision", {"bf16", "fp32", "fp64"}, "fp32"));
  const auto model = root.table("model");
  spec.model.path = path_from(model, folder);
  const std::string head = model.choice("head", {"as-is", "tied", "untied"}, "as-is");
  spec.model.head = head == "tied"     ? ModelSpec::Head::tied
                    : head == "untied" ? ModelSpec::Head::untied
                                       : ModelSpec::Head::as_is;
  if (const auto student = root.find_table("student")) spec.student = student_from(*student, folder);
  if (const auto data = root.find_table("data")) {
    if (const auto calibration = data->find_table("calibration")) {
      CalibrationSpec own;
      own.text = text_from(*calibration, folder);
      own.sequential = calibration->flag("sequential", own.sequential);
      own.match_outputs = calibration->flag("match_outputs", own.match_outputs);
      if (own.match_outputs && !own.sequential) calibration->fail("match_outputs", "needs sequential = true: else the inputs do not change");
      own.match_damping = calibration->number("match_damping", own.match_damping, {.least = 0.0});
      own.memory_mb = calibration->integer("memory_mb", own.memory_mb, config::count_from(1));
      own.gradient_tokens = calibration->integer("gradient_tokens", own.text.tokens, {.least = own.text.window, .most = own.text.tokens});
      spec.calibration = std::move(own);
    }
    if (const auto distillation = data->find_table("distillation")) spec.training_text = training_text_from(*distillation, folder);
  }
  for (const auto& table : root.tables("evaluate")) spec.evaluations.push_back(evaluation_from(table, folder));
  for (const auto& table : root.tables("stage")) {
    spec.stages.push_back(stage_from(table, spec, folder));
  }
  if (const auto budget = root.find_table("budget")) spec.budget = BudgetSpec::from(*budget);
  if (const auto parallel = root.find_table("parallel"))
    spec.distribute_above = parallel->integer("distribute_above", 0, {.least = 0});
  root.finish();
  spec.resolved = root.resolved();
  return spec;
}

bool ExperimentSpec::needs_dense_teacher() const {
  return std::ranges::any_of(evaluations, &EvaluationSpec::divergence) || std::ranges::any_of(stages, [](const StageSpec& stage) {
    return stage.distill && stage.distill->losses.needs_teacher() && stage.distill->teacher == DistillSpec::Teacher::dense;
  });
}

bool ExperimentSpec::runs_the_model() const {
  return !evaluations.empty() || calibration ||
         std::ranges::any_of(stages, [](const StageSpec& stage) { return stage.distill.has_value() || stage.sensitivity.has_value(); });
}

std::string identity_of(const Value& resolved) { return config::to_text(without_words(resolved)); }

}  // namespace kronlab::experiments
