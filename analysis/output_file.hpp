#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>

namespace kronlab::analysis {

/// A text file that is written piece by piece under a temporary name: whole or not there. Without finish() it goes away.
class OutputFile {
 public:
  /// @throws StorageError if it cannot be made
  explicit OutputFile(const std::filesystem::path& path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  /// @throws StorageError if the disk is full or broken
  void write(std::string_view text);
  template <class... Values>
  void print(fmt::format_string<Values...> format, Values&&... values) {
    write(fmt::format(format, std::forward<Values>(values)...));
  }
  /// Gives it its name. Call it once. @throws StorageError
  void finish();

 private:
  [[noreturn]] void fail() const;
  std::filesystem::path path_, temporary_;
  std::FILE* file_ = nullptr;
};

/// A cell of CSV: in quotes where it holds a comma, a quote or the end of a line.
std::string csv_cell(const std::string& text);

}  // namespace kronlab::analysis
