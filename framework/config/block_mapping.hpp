#pragma once

#include <string>
#include <string_view>

#include "framework/config/value.hpp"

namespace kronlab::config {

/// Reads nested mappings in block form, the part of YAML that a table of settings needs.
///
///   layers:                        # a key without a value has a table below it, indented deeper
///     transformer.h.1.mlp.c_fc:
///       r: 4                       # integers, true and false, texts: plain or in quotes
///       use_p: True
///
/// Lists, flow style, anchors, aliases, tags, escapes, texts of several lines and further documents are refused. Every
/// value has its position.
///
/// @throws ConfigError with file, line and column: on any of these, a line that is no `key: value`, a key that is there
/// twice or has no value, an indentation that fits no line before it or has tabs, tables 16 levels deep, a number
/// beyond 64 bits, a control character
Value parse_block_mapping(std::string_view text, const std::string& file);

}  // namespace kronlab::config
