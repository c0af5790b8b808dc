#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "framework/storage/mapped_file.hpp"
#include "framework/tensor/tensor_source.hpp"

namespace kronlab::storage {

/// One *.safetensors file, mapped. The header is checked whole when it is opened; data are touched by `read` alone.
class SafetensorsFile final : public TensorSource {
 public:
  /// @throws DataError on a header longer than the file, unknown dtypes, offsets out of range, overlapping or not
  /// fitting dtype and shape, duplicate names; StorageError if the file cannot be opened
  explicit SafetensorsFile(const std::string& path);

  const std::vector<TensorInfo>& tensors() const override { return infos_; }
  void read(const std::string& name, TensorView to) const override;
  /// The values of an I32 or I64 tensor. @throws DataError if it is of another type
  std::vector<Index> read_integers(const std::string& name) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  struct Place {
    std::size_t begin = 0;
    std::size_t end = 0;
  };
  std::span<const std::byte> data_of(const std::string& name) const;

  MappedFile file_;
  std::vector<TensorInfo> infos_;
  std::map<std::string, Place> places_;
  std::map<std::string, std::string> metadata_;
};

/// A tensor to be written.
struct NamedTensor {
  std::string name;
  std::vector<Index> shape;
  ConstTensorView data;  ///< contiguous
};

/// Writes to a temporary name, flushes, then renames. @throws StorageError
void write_safetensors(const std::string& path, std::span<const NamedTensor> tensors,
                       const std::map<std::string, std::string>& metadata = {});

/// Copies `size` elements of a stored floating-point type into `to`. @throws DataError on NaN or infinity (with `name`
/// and position)
void convert_finite(const std::string& name, const std::string& stored_type, std::span<const std::byte> from,
                    TensorView to);

}  // namespace kronlab::storage
