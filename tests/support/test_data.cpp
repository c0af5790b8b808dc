#include "tests/support/test_data.hpp"

#include <cstdlib>
#include <iostream>
#include <vector>

#include "framework/base/error.hpp"

namespace kronlab::testing {
namespace {
bool skipped = false;
}

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
  const std::filesystem::path name = "SmolLM2-135M-Instruct.Q4_1.gguf";
  std::vector<std::filesystem::path> candidates;
  if (const char* data = std::getenv("KRONLAB_DATA")) {
    const std::filesystem::path chosen = data;
    candidates = {chosen, chosen / "models" / name, chosen / name};
  }
  if (const char* cache = std::getenv("KRONLAB_CACHE")) {
    candidates.push_back(cache / name);
  } else if (const char* caches = std::getenv("XDG_CACHE_HOME")) {
    candidates.push_back(caches / std::filesystem::path("kronlab") / name);
  } else if (const char* home = std::getenv("HOME")) {
    candidates.push_back(home / std::filesystem::path(".cache/kronlab") / name);
  }
  for (const auto& path : candidates) {
    if (std::filesystem::is_regular_file(path)) return path;
  }
  return std::nullopt;
}

void report_skipped(const std::string& what) {
  skipped = true;
  std::cerr << "skipped: needs $KRONLAB_DATA/" << what << '\n';
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
