#include "tests/support/test_data.hpp"

#include <cstdlib>
#include <iostream>

#include "framework/base/error.hpp"

namespace kronlab::testing {
namespace {

bool skipped = false;

/// An environment variable that is set and not empty.
std::optional<std::filesystem::path> folder_from(const char* variable) {
  const char* value = std::getenv(variable);
  if (!value || *value == '\0') return std::nullopt;
  return value;
}

std::optional<std::filesystem::path> cache_folder() {
  if (const auto chosen = folder_from("KRONLAB_CACHE")) return chosen;
  if (const auto caches = folder_from("XDG_CACHE_HOME")) return *caches / "kronlab";
  if (const auto home = folder_from("HOME")) return *home / ".cache" / "kronlab";
  return std::nullopt;
}

}  // namespace

std::optional<std::filesystem::path> shared_data(const std::string& relative) {
  if (const char* chosen = std::getenv("KRONLAB_DATA")) {
    const auto path = std::filesystem::path(chosen) / relative;
    if (std::filesystem::exists(path)) return path;
  }
  if (const char* sources = std::getenv("KRONLAB_SOURCE_DIR")) {
    const auto path = std::filesystem::path(sources) / ".." / "shared" / "data" / relative;
    if (std::filesystem::exists(path)) return std::filesystem::canonical(path);
  }
  return std::nullopt;
}

std::optional<std::filesystem::path> smollm2() {
  const std::string name = "SmolLM2-135M-Instruct.Q4_1.gguf";
  if (const auto found = shared_data("models/" + name)) return found;
  const auto cache = cache_folder();
  if (cache && std::filesystem::exists(*cache / name)) return *cache / name;
  return std::nullopt;
}

void report_skipped(const std::string& what) {
  skipped = true;
  std::cerr << "skipped: needs " << what << '\n';
}

bool any_skipped() { return skipped; }

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "kronlab-test-XXXXXX").string();
  if (!mkdtemp(pattern.data())) throw StorageError("cannot create a temporary folder " + pattern);
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace kronlab::testing
