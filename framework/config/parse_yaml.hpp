#pragma once

#include <string>
#include <string_view>

#include "framework/config/value.hpp"

namespace kronlab::config {

/// Reads one YAML document as the tree that a TOML file would be; every value has its position. Plain scalars are truth values
/// (true, false), integers, numbers or texts; those in quotes are texts. An empty document is an empty table.
///
/// @throws ConfigError with file, line and column: on bad syntax, several documents, a key that is no text or is there twice, a
/// key without a value, an alias, a nesting 16 levels deep, an integer beyond 64 bits
Value parse_yaml(std::string_view text, const std::string& file);

}  // namespace kronlab::config
