#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "framework/storage/gguf_blocks.hpp"
#include "framework/storage/mapped_file.hpp"

namespace kronlab::storage {

/// A GGUF file (v2, v3, little-endian), mapped: metadata and the directory of tensors, all checked when it is opened.
class GgufFile {
 public:
  using Value =
      std::variant<bool, Index, double, std::string, std::vector<std::string>, std::vector<Index>, std::vector<double>>;
  struct Entry {
    std::vector<Index> shape;  ///< slowest extent first, as everywhere in kronlab: [out, in]
    std::uint32_t type = 0;
    std::size_t begin = 0;  ///< in the file
    std::size_t size = 0;   ///< bytes
  };

  /// @throws DataError on a wrong magic or version, sizes beyond the file, overlapping tensors, unreadable types
  /// (named)
  explicit GgufFile(const std::string& path);

  const std::string& path() const { return file_.path(); }
  const std::map<std::string, Entry>& tensors() const { return tensors_; }
  bool has(const std::string& key) const { return metadata_.contains(key); }
  /// @throws DataError if the key is missing or of another type
  Index integer(const std::string& key) const;
  double number(const std::string& key) const;
  const std::string& text(const std::string& key) const;
  const std::vector<std::string>& texts(const std::string& key) const;
  const std::vector<Index>& integers(const std::string& key) const;

  /// Rows of a tensor to float32, in parallel; `source_row(i)` is the row of the file that becomes row i.
  /// @throws DataError if there is no such tensor, its shape is another, or a value is NaN or infinite
  void read(const std::string& name, TensorView to, const std::function<Index(Index)>& source_row) const;
  std::span<const std::byte> bytes_of(const Entry& entry) const {
    return file_.bytes().subspan(entry.begin, entry.size);
  }

 private:
  const Value& value(const std::string& key) const;

  MappedFile file_;
  std::map<std::string, Value> metadata_;
  std::map<std::string, Entry> tensors_;
};

}  // namespace kronlab::storage
