#include "experiments/pipeline/cache_file.hpp"

#include "framework/base/hash.hpp"
#include "framework/base/progress.hpp"

namespace kronlab::experiments {

std::string read_cached(const std::filesystem::path& path, const std::function<void(const std::string& text)>& check) {
  try {
    if (!std::filesystem::exists(path)) return "";
    std::string text = read_text_file(path.string());
    check(text);
    return text;
  } catch (const std::exception& error) {
    log_warning(fmt::format("cache '{}' is not used: {}", path.string(), error.what()));
    return "";
  }
}

void write_cached(const std::filesystem::path& path, const std::string& text) {
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  if (error) throw StorageError(fmt::format("cannot create '{}': {}", path.parent_path().string(), error.message()));
  write_file_atomically(path.string(), text);
}

}  // namespace kronlab::experiments
