#pragma once

#include <filesystem>
#include <string>

namespace kronlab::storage {

/// The folder of a run: `text` is its folder, its id, or a beginning or end of exactly one id of the store.
/// @throws ConfigError if it is none or several, with their ids
std::filesystem::path find_run(const std::string& store_path, const std::string& text);

}  // namespace kronlab::storage
