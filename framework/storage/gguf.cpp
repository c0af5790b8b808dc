#include "framework/storage/gguf.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "framework/storage/finite.hpp"

namespace kronlab::storage {
namespace {

/// Reads little-endian values one after another; nothing is allocated that the rest of the file could not fill.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, const std::string& path) : bytes_(bytes), path_(path) {}

  template <class T>
  T read() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::string text() {
    const auto piece = take(read<std::uint64_t>());
    return {reinterpret_cast<const char*>(piece.data()), piece.size()};
  }
  /// Number of things that take at least `bytes_each`.
  std::size_t count(std::size_t bytes_each) {
    const auto value = read<std::uint64_t>();
    if (value > (bytes_.size() - position_) / bytes_each) {
      throw DataError(
          fmt::format("'{}': a count of {} at byte {} is more than the file holds", path_, value, position_ - 8));
    }
    return value;
  }
  std::size_t position() const { return position_; }

 private:
  std::span<const std::byte> take(std::uint64_t size) {
    if (size > bytes_.size() - position_) {
      throw DataError(fmt::format("'{}' is truncated: {} bytes expected at byte {}, {} are there", path_, size,
                                  position_, bytes_.size() - position_));
    }
    const auto piece = bytes_.subspan(position_, size);
    position_ += size;
    return piece;
  }

  std::span<const std::byte> bytes_;
  const std::string& path_;
  std::size_t position_ = 0;
};

enum MetadataType : std::uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };

std::size_t smallest_size(std::uint32_t type) {
  switch (type) {
    case u8:
    case i8:
    case boolean:
      return 1;
    case u16:
    case i16:
      return 2;
    case u32:
    case i32:
    case f32:
      return 4;
    default:
      return 8;
  }
}

Index read_integer(Cursor& in, std::uint32_t type, const std::string& key) {
  switch (type) {
    case u8:
      return in.read<std::uint8_t>();
    case i8:
      return in.read<std::int8_t>();
    case u16:
      return in.read<std::uint16_t>();
    case i16:
      return in.read<std::int16_t>();
    case u32:
      return in.read<std::uint32_t>();
    case i32:
      return in.read<std::int32_t>();
    case u64: {
      const auto value = in.read<std::uint64_t>();
      if (value >> 63 != 0) throw DataError(fmt::format("metadata '{}': {} overflows", key, value));
      return static_cast<Index>(value);
    }
    case i64:
      return in.read<std::int64_t>();
    case boolean:
      return in.read<std::uint8_t>() != 0;
    default:
      throw DataError(fmt::format("metadata '{}' has unknown type {}", key, type));
  }
}

GgufFile::Value read_array(Cursor& in, const std::string& key) {
  const auto type = in.read<std::uint32_t>();
  if (type == array) throw DataError(fmt::format("metadata '{}': nested arrays are not supported", key));
  const std::size_t count = in.count(smallest_size(type));
  if (type == string) {
    std::vector<std::string> texts(count);
    for (auto& text : texts) text = in.text();
    return texts;
  }
  if (type == f32 || type == f64) {
    std::vector<double> numbers(count);
    for (auto& number : numbers) number = type == f32 ? in.read<float>() : in.read<double>();
    return numbers;
  }
  std::vector<Index> integers(count);
  for (auto& integer : integers) integer = read_integer(in, type, key);
  return integers;
}

GgufFile::Value read_value(Cursor& in, const std::string& key) {
  const auto type = in.read<std::uint32_t>();
  switch (type) {
    case string:
      return in.text();
    case f32:
      return static_cast<double>(in.read<float>());
    case f64:
      return in.read<double>();
    case boolean:
      return in.read<std::uint8_t>() != 0;
    case array:
      return read_array(in, key);
    default:
      return read_integer(in, type, key);
  }
}

GgufFile::Entry read_entry(Cursor& in, const std::string& name, const std::string& path) {
  const auto fail = [&](const std::string& message) {
    throw DataError(fmt::format("'{}': tensor '{}': {}", path, name, message));
  };
  GgufFile::Entry entry;
  const auto extents = in.read<std::uint32_t>();
  if (extents < 1 || extents > 4) fail(fmt::format("{} extents", extents));
  Index size = 1;
  for (std::uint32_t i = 0; i < extents; ++i) {
    const auto extent = in.read<std::uint64_t>();
    if (extent == 0 || extent > std::uint64_t{1} << 48) fail(fmt::format("an extent of {}", extent));
    entry.shape.insert(entry.shape.begin(), static_cast<Index>(extent));
    size = checked_product(size, static_cast<Index>(extent), name.c_str());
  }
  entry.type = in.read<std::uint32_t>();
  const BlockType* type = block_type(entry.type);
  if (!type)
    fail(fmt::format(
        "type {} ({}) is not supported; supported: F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K",
        block_type_name(entry.type), entry.type));
  if (entry.shape.back() % type->elements != 0)
    fail(fmt::format("rows of {} are no multiple of the {} elements of a {} block", entry.shape.back(), type->elements,
                     type->name));
  entry.begin = in.read<std::uint64_t>();  // relative to the data section until that is known
  entry.size = static_cast<std::size_t>(checked_product(size / type->elements, type->bytes, name.c_str()));
  return entry;
}

}  // namespace

GgufFile::GgufFile(const std::string& path) : file_(path) {
  Cursor in(file_.bytes(), path);
  if (in.read<std::uint32_t>() != 0x46554747)
    throw DataError(fmt::format("'{}' is no GGUF file (its first bytes are not GGUF)", path));
  const auto version = in.read<std::uint32_t>();
  if (version != 2 && version != 3)
    throw DataError(fmt::format("'{}': GGUF version {} is not supported; supported: 2, 3", path, version));
  const std::size_t num_tensors = in.count(24), num_keys = in.count(13);
  for (std::size_t i = 0; i < num_keys; ++i) {
    const std::string key = in.text();
    if (metadata_.contains(key)) throw DataError(fmt::format("'{}': metadata '{}' is there twice", path, key));
    metadata_[key] = read_value(in, key);
  }
  for (std::size_t i = 0; i < num_tensors; ++i) {
    const std::string name = in.text();
    if (tensors_.contains(name)) throw DataError(fmt::format("'{}': tensor '{}' is there twice", path, name));
    tensors_[name] = read_entry(in, name, path);
  }
  const Index alignment = has("general.alignment") ? integer("general.alignment") : 32;
  if (alignment < 1 || alignment > 1 << 20) throw DataError(fmt::format("'{}': alignment {}", path, alignment));
  const auto step = static_cast<std::size_t>(alignment);
  const std::size_t data_begin = (in.position() + step - 1) / step * step, file_size = file_.bytes().size();
  std::vector<std::pair<std::size_t, std::size_t>> ranges;
  for (auto& [name, entry] : tensors_) {
    if (data_begin > file_size || entry.begin > file_size - data_begin ||
        entry.size > file_size - data_begin - entry.begin) {
      throw DataError(fmt::format("'{}': tensor '{}' of {} bytes at {} lies outside the file of {} bytes", path, name,
                                  entry.size, entry.begin, file_size));
    }
    entry.begin += data_begin;
    ranges.emplace_back(entry.begin, entry.begin + entry.size);
  }
  std::ranges::sort(ranges);
  for (std::size_t i = 1; i < ranges.size(); ++i) {
    if (ranges[i].first < ranges[i - 1].second)
      throw DataError(fmt::format("'{}': tensors overlap at byte {}", path, ranges[i].first));
  }
}

const GgufFile::Value& GgufFile::value(const std::string& key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) throw DataError(fmt::format("'{}': metadata '{}' is missing", path(), key));
  return found->second;
}

namespace {

template <class T>
const T& typed(const GgufFile::Value& value, const std::string& key, const char* wanted) {
  if (const T* found = std::get_if<T>(&value)) return *found;
  throw DataError(fmt::format("metadata '{}' is not {}", key, wanted));
}

}  // namespace

Index GgufFile::integer(const std::string& key) const { return typed<Index>(value(key), key, "an integer"); }
double GgufFile::number(const std::string& key) const {
  if (const Index* whole = std::get_if<Index>(&value(key))) return static_cast<double>(*whole);
  return typed<double>(value(key), key, "a number");
}
const std::string& GgufFile::text(const std::string& key) const {
  return typed<std::string>(value(key), key, "a string");
}
const std::vector<std::string>& GgufFile::texts(const std::string& key) const {
  return typed<std::vector<std::string>>(value(key), key, "an array of strings");
}
const std::vector<Index>& GgufFile::integers(const std::string& key) const {
  return typed<std::vector<Index>>(value(key), key, "an array of integers");
}

void GgufFile::read(const std::string& name, TensorView to, const std::function<Index(Index)>& source_row) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) throw DataError(fmt::format("'{}': tensor '{}' is missing", path(), name));
  const Entry& entry = found->second;
  expect_fits(name, entry.shape, to);
  const BlockType& type = *block_type(entry.type);
  const Index row_bytes = to.cols / type.elements * type.bytes;
  const std::byte* data = file_.bytes().data() + entry.begin;
  const auto limit = finite_limit<float>(to.dtype);
  Index bad = -1;
#pragma omp parallel reduction(max : bad) if (to.rows * to.cols > 65536)
  {
    Tensor row = Tensor::uninitialised(DType::f32, {1, to.cols});
#pragma omp for schedule(static)
    for (Index i = 0; i < to.rows; ++i) {
      const bool in_place = to.dtype == DType::f32;
      float* out = in_place ? to.as<float>().row(i).data() : row.values<float>().data();
      dequantise(type, data + source_row(i) * row_bytes, to.cols, out);
      bool is_finite = true;
      for (Index j = 0; j < to.cols; ++j) is_finite &= std::abs(out[j]) < limit;
      if (!is_finite) bad = std::max(bad, i);
      if (!in_place) convert(std::as_const(row).view(), to.block(i, 0, 1, to.cols));
    }
  }
  file_.release(bytes_of(entry));
  if (bad >= 0)
    throw DataError(fmt::format("tensor '{}' has a value in row {} that is NaN, infinite or beyond {}", name, bad,
                                to_string(to.dtype)));
}

}  // namespace kronlab::storage
