#include "framework/storage/unique_json.hpp"

#include <set>
#include <vector>

#include "framework/base/error.hpp"

namespace kronlab::storage {

nlohmann::json parse_unique_object(std::string_view text, const std::string& what) {
  using Json = nlohmann::json;
  std::vector<std::set<std::string>> keys;
  std::string duplicate;
  const auto watch = [&](int, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event != Json::parse_event_t::key) return true;
    if (!keys.back().insert(parsed.get<std::string>()).second) duplicate = parsed.get<std::string>();
    return true;
  };
  Json json;
  try {
    json = Json::parse(text.begin(), text.end(), watch);
  } catch (const Json::exception& error) {
    throw DataError(fmt::format("'{}' is not JSON: {}", what, error.what()));
  }
  if (!duplicate.empty()) throw DataError(fmt::format("'{}': '{}' is there twice", what, duplicate));
  if (!json.is_object()) throw DataError(fmt::format("'{}' is no JSON object", what));
  return json;
}

}  // namespace kronlab::storage
