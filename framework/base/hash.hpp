#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "framework/base/types.hpp"

namespace kronlab {

/// SHA-256 of a sequence of byte ranges, as 64 hexadecimal digits.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void update(std::span<const std::byte> bytes);
  void update(std::string_view text);
  std::string hex_digest();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

std::string sha256(std::string_view bytes);
/// Of a file's content. @throws StorageError if it cannot be read.
std::string sha256_of_file(const std::string& path);

/// The whole content of a file. @throws StorageError with the system's text if it cannot be read.
std::string read_text_file(const std::string& path);
/// Writes to a temporary name, flushes to disk, then renames: the file is whole or not there. @throws StorageError
void write_file_atomically(const std::string& path, std::string_view content);

}  // namespace kronlab
