#pragma once

#include <functional>
#include <string>

#include "framework/base/hash.hpp"
#include "framework/config/value.hpp"

namespace kronlab::config {

/// Gives a file's text. @throws StorageError if it cannot be read
using TextReader = std::function<std::string(const std::string& path)>;

/// What a TOML file and the files that it includes say together; `include` itself is not part of it.
///
///   include = "../base.toml"             # or a list: ["model.toml", "data.toml"]; paths start at this file's folder
///   [model]
///   path = "models/gpt2"                 # in place of the base's; what else the base's [model] says stays
///
/// Tables are merged key by key; anything else, arrays of tables such as [[stage]] too, is replaced as a whole. The
/// including file wins over what it includes, and a later file of the list over an earlier one. An included file may
/// include others, 16 levels deep. Every value's position names the file in which it was written; apart from that the
/// result is as if all had been written in `file`, so paths to models and texts start at the same folder wherever they
/// stand.
///
/// @throws ConfigError if a file cannot be read or parsed, an `include` is neither a text nor a list of texts, a file
/// includes itself, or there are more than 16 levels: with the include's place and the files that led there
Value read_toml_file(const std::string& file, const TextReader& read = read_text_file);

}  // namespace kronlab::config
