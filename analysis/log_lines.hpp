#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace kronlab::analysis {

/// The lines of a text file, without their ends. @throws StorageError if it cannot be read
std::vector<std::string> read_lines(const std::filesystem::path& path);

/// A text file that grows: its new lines. One that another writes at the moment is left for the next time.
class GrowingFile {
 public:
  explicit GrowingFile(std::filesystem::path path) : path_(std::move(path)) {}
  const std::filesystem::path& path() const { return path_; }
  /// Whole lines that were not there at the last call; none while there is no file. One that became shorter is read anew.
  /// @throws StorageError if it cannot be read
  std::vector<std::string> new_lines();

 private:
  std::filesystem::path path_;
  std::uintmax_t position_ = 0;  ///< bytes that were read
};

}  // namespace kronlab::analysis
