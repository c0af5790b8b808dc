#include "experiments/pipeline/search_store.hpp"

#include <fstream>
#include <sstream>

#include "framework/base/error.hpp"
#include "framework/base/hash.hpp"
#include "framework/base/progress.hpp"

namespace kronlab::experiments {

std::optional<std::string> SearchStateFile::load() {
  std::ifstream file(path_, std::ios::binary);
  if (!file) return std::nullopt;
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

void SearchStateFile::save(const std::string& state) {
  try {
    std::filesystem::create_directories(path_.parent_path());
    write_file_atomically(path_.string(), state);
  } catch (const std::exception& error) {
    log_warning(fmt::format("the state of a permutation search is not kept: {}", error.what()));
  }
}

}  // namespace kronlab::experiments
