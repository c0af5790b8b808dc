#include "analysis/comparison.hpp"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "framework/base/error.hpp"
#include "framework/config/value.hpp"

namespace kronlab::analysis {
namespace {

using config::Value;
using storage::EvaluationRecord;

bool has_tables(const Value::Array& array) {
  return std::ranges::any_of(array, [](const Value& element) { return element.is_table(); });
}

void flatten(const Value& value, const std::string& path, std::map<std::string, std::string>& settings) {
  const auto below = [&](const std::string& name) { return path.empty() ? name : path + "." + name; };
  const auto* array = value.as<Value::Array>();
  if (const auto* table = value.as<Value::Table>()) {
    for (const auto& [key, child] : *table) flatten(child, below(key), settings);
  } else if (array && has_tables(*array)) {
    for (std::size_t i = 0; i < array->size(); ++i) flatten((*array)[i], below(std::to_string(i)), settings);
  } else {
    settings[path] = config::to_text(value);
  }
}

std::map<std::string, std::string> settings_of(const storage::RunReader& run) {
  std::map<std::string, std::string> settings;
  try {
    flatten(config::parse_toml(run.description().config_toml, "config.toml"), "", settings);
  } catch (const ConfigError& error) {
    throw StorageError(fmt::format("run {}: {}", run.id(), error.what()));
  }
  return settings;
}

using Place = std::pair<std::string, std::string>;  // dataset and protocol

/// Of each text and protocol the evaluation of the highest stage and step; the dense model's does not count.
std::map<Place, EvaluationRecord> last_evaluations(const storage::RunReader& run) {
  std::map<Place, EvaluationRecord> last;
  for (auto& evaluation : run.evaluations()) {
    if (evaluation.stage < 0) continue;
    const auto [found, is_new] = last.try_emplace({evaluation.dataset, evaluation.protocol}, evaluation);
    if (!is_new && std::tuple(evaluation.stage, evaluation.step) >= std::tuple(found->second.stage, found->second.step)) {
      found->second = std::move(evaluation);
    }
  }
  return last;
}

PairedTest paired_test(const Place& place, const EvaluationRecord& first, const EvaluationRecord& second) {
  PairedTest test{place.first, place.second, {}, {}};
  if (first.data_sha256 != second.data_sha256) {
    test.problem = "the texts differ";
    return test;
  }
  try {
    test.result = paired_difference(first.windows, second.windows);
  } catch (const DataError& error) {
    test.problem = error.what();
  }
  return test;
}

}  // namespace

std::vector<SettingDifference> setting_differences(const std::vector<storage::RunReader>& runs) {
  std::vector<std::map<std::string, std::string>> settings;
  std::map<std::string, std::vector<std::string>> by_path;
  for (const auto& run : runs) {
    settings.push_back(settings_of(run));
    for (const auto& [path, value] : settings.back()) by_path[path];
  }
  std::vector<SettingDifference> differences;
  for (auto& [path, values] : by_path) {
    for (const auto& own : settings) {
      const auto found = own.find(path);
      values.push_back(found == own.end() ? "-" : found->second);
    }
    const bool differs = std::ranges::any_of(values, [&](const std::string& value) { return value != values.front(); });
    if (differs) differences.push_back({path, std::move(values)});
  }
  return differences;
}

std::vector<PairedTest> paired_tests(const storage::RunReader& first, const storage::RunReader& second) {
  const auto before = last_evaluations(first), after = last_evaluations(second);
  std::vector<PairedTest> tests;
  for (const auto& [place, evaluation] : before) {
    const auto other = after.find(place);
    if (other != after.end()) tests.push_back(paired_test(place, evaluation, other->second));
  }
  return tests;
}

}  // namespace kronlab::analysis
