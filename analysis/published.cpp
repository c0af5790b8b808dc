#include "analysis/published.hpp"

#include <fmt/format.h>

#include <set>

#include "analysis/published_text.hpp"
#include "framework/config/strict_table.hpp"

namespace kronlab::analysis {
namespace {

std::vector<std::string> certainty_words() {
  std::vector<std::string> words;
  for (const auto& certainty : certainties) words.push_back(certainty.word);
  return words;
}

PublishedValue value_from(const config::StrictTable& table) {
  PublishedValue value;
  value.method = table.text("method");
  value.model = table.text("model");
  value.setting = table.text("setting", "");
  value.metric = table.text("metric");
  value.dataset = table.text("dataset", "");
  value.value = table.number("value");
  value.unit = table.text("unit");
  value.protocol = table.text("protocol");
  value.source = table.text("source");
  value.place = table.text("place");
  value.certainty = table.choice("certainty", certainty_words());
  value.note = table.text("note", "");
  return value;
}

}  // namespace

std::vector<PublishedValue> read_published(const std::string& text, const std::string& file) {
  const config::StrictTable table(config::parse_toml(text, file));
  std::vector<PublishedValue> values;
  std::set<std::string> known;
  for (const auto& entry : table.tables("value")) {
    const auto value = value_from(entry);
    const auto identity = fmt::format("{}, {}, {}, {}, {}, {}, {}", value.method, value.model, value.setting, value.metric, value.dataset,
                                      value.protocol, value.source);
    if (!known.insert(identity).second) entry.fail("value", fmt::format("a second value of {}", identity));
    values.push_back(value);
  }
  table.finish();
  return values;
}

const std::vector<PublishedValue>& published_values() {
  static const auto values = read_published(published_text, "analysis/published.toml");
  return values;
}

std::string citation_of(const PublishedValue& value) {
  return fmt::format("{}, {} ({}): {}{}{}", value.source, value.place, value.certainty, value.protocol, value.note.empty() ? "" : "; ",
                     value.note);
}

}  // namespace kronlab::analysis
