#pragma once

#include <filesystem>
#include <functional>
#include <string>

namespace kronlab::experiments {

/// What a file of STORE/cache holds; empty: nothing, or something that `check` throws at, which a warning says: it is then made
/// again.
std::string read_cached(const std::filesystem::path& path, const std::function<void(const std::string& text)>& check);

/// Whole or not at all, with the folders on the way. @throws StorageError
void write_cached(const std::filesystem::path& path, const std::string& text);

}  // namespace kronlab::experiments
