#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace kronlab::storage {

/// Parses a JSON object from a file that others wrote. `what` names the file in messages.
/// @throws DataError if it is no JSON object or an object in it has a key twice, which JSON parsers pass over in
/// silence
nlohmann::json parse_unique_object(std::string_view text, const std::string& what);

}  // namespace kronlab::storage
