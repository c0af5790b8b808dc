#pragma once

#include <filesystem>
#include <string>

namespace kronlab::storage {

/// The folder of a run: `text` is an id, a unique beginning or end of an id, or the path of the folder.
/// @throws ConfigError if it is none or several, with their ids
std::filesystem::path find_run(const std::string& store_path, const std::string& text);

}  // namespace kronlab::storage
