#pragma once

#include <span>
#include <string>

#include "framework/base/types.hpp"

namespace kronlab::storage {

/// A file in memory, read-only: pages are read when they are touched.
class MappedFile {
 public:
  /// @throws StorageError with the system's text; DataError if the file is empty
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  /// The pages that lie wholly in this part of bytes() count no longer as this process's memory; touched again, they are
  /// read again, mostly from the system's cache.
  void release(std::span<const std::byte> part) const;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace kronlab::storage
