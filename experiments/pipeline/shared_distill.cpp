#include "experiments/pipeline/shared_distill.hpp"

#include <algorithm>
#include <vector>

#include "framework/base/error.hpp"

namespace kronlab::experiments {
namespace {

using config::Value;

constexpr const char* lengths[] = {"steps", "tokens", "epochs"};

bool is_length(const std::string& key) { return std::ranges::find(lengths, key) != std::end(lengths); }

[[noreturn]] void fail(const Value& value, const std::string& message) { throw ConfigError(fmt::format("{}: {}", value.position.text(), message)); }

/// A `count`-th of a length.
Value share_of(const std::string& key, const Value& length, Index count) {
  if (key == "steps") fail(length, "distill.steps: of all stages together there are tokens or epochs, which can be divided; give steps in [stage.distill]");
  Value share;
  if (const auto* tokens = length.as<Index>(); tokens && *tokens > 0) {
    share = key == "tokens" ? Value((*tokens - 1) / count + 1) : Value(static_cast<double>(*tokens) / static_cast<double>(count));
  } else if (const auto* epochs = length.as<double>(); epochs && key == "epochs" && *epochs > 0) {
    share = Value(*epochs / static_cast<double>(count));
  } else {
    fail(length, fmt::format("distill.{}: {}, expected a number above 0", key, config::to_text(length)));
  }
  share.position = length.position;
  return share;
}

}  // namespace

Value with_shared_distill(Value run) {
  auto* root = run.as<Value::Table>();
  const auto place = root ? root->find("distill") : Value::Table::iterator();
  if (!root || place == root->end()) return run;
  const Value distill = place->second;
  root->erase(place);
  const auto* shared = distill.as<Value::Table>();
  if (!shared) fail(distill, fmt::format("distill: {}, expected a table", distill.type_name()));

  std::vector<Value::Table*> trained;
  if (const auto stages = root->find("stage"); stages != root->end()) {
    if (auto* array = stages->second.as<Value::Array>()) {
      for (Value& stage : *array) {
        auto* table = stage.as<Value::Table>();
        const auto own = table ? table->find("distill") : Value::Table::iterator();
        if (table && own != table->end() && own->second.is_table()) trained.push_back(own->second.as<Value::Table>());
      }
    }
  }
  const auto has_length = [](const Value::Table* stage) { return std::ranges::any_of(lengths, [&](const char* key) { return stage->contains(key); }); };
  const Index count = std::ranges::count_if(trained, [&](const auto* stage) { return !has_length(stage); });
  for (auto* stage : trained) {
    const bool has_own_length = has_length(stage);
    for (const auto& [key, value] : *shared) {
      if (!is_length(key)) {
        stage->try_emplace(key, value);
      } else if (!has_own_length) {
        (*stage)[key] = share_of(key, value, count);
      }
    }
  }
  return run;
}

}  // namespace kronlab::experiments
