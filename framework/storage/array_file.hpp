#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "framework/base/metric.hpp"
#include "framework/base/types.hpp"

namespace kronlab::storage {

/// Text attributes of an array: {"unit", "nat"}, {"axes", "step"}.
using Attributes = std::map<std::string, std::string>;

/// A writer of named arrays in HDF5 (the oldest file format that holds them, one process).
///
/// It writes to a temporary name beside `path` and renames in `close()`, so that `path` is whole or not there;
/// destroyed without `close()`, it removes the temporary file. Names are paths; the groups between are made:
/// "layers/h.0.mlp.c_fc/permutation/rows". Arrays above 64 KiB are chunked and compressed (shuffle + deflate).
class ArrayFile {
 public:
  /// @throws StorageError with the path and HDF5's or the system's reason
  explicit ArrayFile(const std::string& path);
  ArrayFile(ArrayFile&&) noexcept;
  ArrayFile& operator=(ArrayFile&&) noexcept;
  ArrayFile(const ArrayFile&) = delete;
  ArrayFile& operator=(const ArrayFile&) = delete;
  ~ArrayFile();

  /// Values row-major; an empty shape is a scalar; an extent may be 0.
  /// @pre name is not empty, no extent is negative, their product = values.size()
  /// @throws StorageError if the name is taken or the file cannot be written
  void write(const std::string& name, std::span<const Index> shape, std::span<const double> values,
             const Attributes& attributes = {});
  void write(const std::string& name, std::span<const Index> shape, std::span<const float> values,
             const Attributes& attributes = {});
  void write(const std::string& name, std::span<const Index> shape, std::span<const Index> values,
             const Attributes& attributes = {});
  void write(const std::string& name, std::span<const Index> shape, std::span<const std::int32_t> values,
             const Attributes& attributes = {});

  /// A vector: write_vector("layers/wte/spectrum", singular_values, {{"unit", "1"}}).
  template <class Vector>
  void write_vector(const std::string& name, const Vector& values, const Attributes& attributes = {}) {
    using Scalar = typename Vector::value_type;
    const Index length = static_cast<Index>(values.size());
    write(name, std::span<const Index>(&length, 1), std::span<const Scalar>(values.data(), values.size()), attributes);
  }

  /// One UTF-8 text: write_text("config.toml", resolved).
  void write_text(const std::string& name, const std::string& text);
  /// All metrics as columns of equal length under "metrics/": name, value, unit, stage, step, layer, dataset, protocol,
  /// standard_error (NaN where there is none).
  void write_metrics(std::span<const Metric> metrics);

  /// Writes everything to the disk, then renames. Call it once. @throws StorageError
  void close();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Reads what ArrayFile (or another program) wrote. @throws StorageError for a missing, truncated or foreign file, an
/// unknown name, or a type that does not convert: with the path, the name and HDF5's reason
class ArrayReader {
 public:
  explicit ArrayReader(const std::string& path);
  ArrayReader(ArrayReader&&) noexcept;
  ArrayReader& operator=(ArrayReader&&) noexcept;
  ArrayReader(const ArrayReader&) = delete;
  ArrayReader& operator=(const ArrayReader&) = delete;
  ~ArrayReader();

  /// Full names of all arrays and texts, sorted.
  std::vector<std::string> names() const;
  bool contains(const std::string& name) const;
  std::vector<Index> shape(const std::string& name) const;
  Attributes attributes(const std::string& name) const;
  /// Row-major, converted from the stored number type.
  std::vector<double> read_f64(const std::string& name) const;
  bool is_integer(const std::string& name) const;
  bool is_text(const std::string& name) const;
  /// Only from stored integers.
  std::vector<Index> read_i64(const std::string& name) const;
  std::string read_text(const std::string& name) const;
  /// A column of texts, e.g. "metrics/name".
  std::vector<std::string> read_texts(const std::string& name) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kronlab::storage
