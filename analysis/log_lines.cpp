#include "analysis/log_lines.hpp"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "framework/base/error.hpp"
#include "framework/base/hash.hpp"

namespace kronlab::analysis {

std::vector<std::string> read_lines(const std::filesystem::path& path) {
  std::vector<std::string> lines;
  std::istringstream text(read_text_file(path.string()));
  for (std::string line; std::getline(text, line);) lines.push_back(std::move(line));
  return lines;
}

std::vector<std::string> GrowingFile::new_lines() {
  std::error_code code;
  const auto size = std::filesystem::file_size(path_, code);
  if (code) return {};
  if (size < position_) position_ = 0;
  std::ifstream file(path_, std::ios::binary);
  if (!file) throw StorageError(fmt::format("cannot read '{}': {}", path_.string(), std::strerror(errno)));
  file.seekg(static_cast<std::streamoff>(position_));
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line) && !file.eof();) {
    position_ += line.size() + 1;
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace kronlab::analysis
