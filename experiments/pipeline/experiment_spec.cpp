#include "experiments/pipeline/experiment_spec.hpp"

#include <cstdlib>
#include <filesystem>

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
std::vector<std::string> paths_from(const StrictTable& table, const std::string& folder) {
  std::vector<std::string> paths;
  for (const auto& text : table.texts("path")) {
    const std::filesystem::path path = with_variables(table, "path", text);
    if (path.empty()) table.fail("path", "the path is empty");
    paths.push_back((path.is_absolute() ? path : std::filesystem::absolute(folder) / path).lexically_normal().string());
  }
  table.resolve("path", paths.size() == 1 ? Value(paths.front()) : Value(Value::Array(paths.begin(), paths.end())));
  return paths;
}

std::string path_from(const StrictTable& table, const std::string& folder) {
  table.text("path");
  return paths_from(table, folder).front();
}

TextSpec text_from(const StrictTable& table, const std::string& folder) {
  TextSpec spec;
  spec.paths = paths_from(table, folder);
  spec.tokens = table.integer("tokens", spec.tokens, {.least = 2});
  spec.window = table.integer("window", spec.window, {.least = 2});
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
  spec.max_windows = table.integer("max_windows", 0, {.least = 0});
  spec.expect_dense = table.find_number("expect_dense", {.least = 1.0});
  spec.expect_tolerance = table.number("expect_tolerance", spec.expect_tolerance, {.least = 0.0, .most = 1.0});
  return spec;
}

PartSpec part_from(const StrictTable& table, bool has_calibration) {
  PartSpec spec;
  spec.layers = table.texts("layers");
  spec.decomposer = decompositions::decomposer_from(table.table("decompose"));
  spec.method = spec.decomposer->kind();
  if (const auto permute = table.find_table("permute")) {
    spec.search = decompositions::search_from(*permute);
    spec.method = fmt::format("permuted({})", spec.method);
  }
  if (spec.needs_statistics() && !has_calibration) {
    table.fail("decompose",
               fmt::format("{} needs statistics of the layers' inputs: give data.calibration", spec.method));
  }
  return spec;
}

StageSpec stage_from(const StrictTable& table, std::size_t index, bool has_calibration) {
  StageSpec spec;
  spec.name = table.text("name", fmt::format("stage {}", index));
  for (const auto& part : table.tables("part")) spec.parts.push_back(part_from(part, has_calibration));
  if (spec.parts.empty()) spec.parts.push_back(part_from(table, has_calibration));
  return spec;
}

/// Keys that name things or say where they lie.
bool is_word(const std::string& key) {
  for (const char* word : {"name", "question", "paper", "path", "expect_dense", "expect_tolerance", "memory_mb"}) {
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

bool PartSpec::needs_statistics() const {
  return decomposer->needs_input_moments() || (search && search->weighting == decompositions::Weighting::inputs);
}

eval::Protocol protocol_from(const StrictTable& table) {
  using eval::Protocol;
  Protocol protocol;
  protocol.normaliser =
      table.choice("kind", {"token-perplexity", "word-perplexity"}, "token-perplexity") == "word-perplexity"
          ? Protocol::Normaliser::word
          : Protocol::Normaliser::token;
  protocol.window = table.integer("window", protocol.window, {.least = 2});
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
  const StrictTable root(run);
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
  if (const auto student = root.find_table("student")) spec.student_blocks = student->integers("blocks");
  if (const auto data = root.find_table("data")) {
    if (const auto calibration = data->find_table("calibration")) {
      spec.calibration = CalibrationSpec{text_from(*calibration, folder), calibration->flag("sequential", false),
                                         calibration->integer("memory_mb", CalibrationSpec{}.memory_mb, {.least = 1})};
    }
  }
  for (const auto& table : root.tables("evaluate")) spec.evaluations.push_back(evaluation_from(table, folder));
  for (const auto& table : root.tables("stage")) {
    spec.stages.push_back(stage_from(table, spec.stages.size(), spec.calibration.has_value()));
  }
  if (const auto parallel = root.find_table("parallel"))
    spec.distribute_above = parallel->integer("distribute_above", 0, {.least = 0});
  root.finish();
  spec.resolved = root.resolved();
  return spec;
}

std::string identity_of(const Value& resolved) { return config::to_text(without_words(resolved)); }

}  // namespace kronlab::experiments
