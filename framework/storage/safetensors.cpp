#include "framework/storage/safetensors.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <utility>

#include "framework/storage/finite.hpp"
#include "framework/storage/unique_json.hpp"

namespace kronlab::storage {
namespace {

using Json = nlohmann::json;

Index width_of(const std::string& type) {
  static const std::map<std::string, Index> widths = {{"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"I64", 8},
                                                      {"I32", 4}, {"I16", 2}, {"I8", 1},  {"U8", 1},   {"U16", 2},
                                                      {"U32", 4}, {"U64", 8}, {"BOOL", 1}};
  const auto found = widths.find(type);
  return found == widths.end() ? 0 : found->second;
}

template <class Stored, class Target>
Index copy_rows(const std::byte* from, MatrixView<Target> to) {
  // Doubles stay doubles on the way to doubles; everything else meets the target as a float.
  using Between = std::conditional_t<std::is_same_v<Stored, double>, double, float>;
  const auto limit = finite_limit<Between>(dtype_of<Target>::value);
  Index bad = -1;
#pragma omp parallel for schedule(static) reduction(max : bad) if (to.rows * to.cols > 65536)
  for (Index i = 0; i < to.rows; ++i) {
    const std::byte* source = from + i * to.cols * static_cast<Index>(sizeof(Stored));
    bool is_finite = true;
    for (Index j = 0; j < to.cols; ++j) {
      Stored stored;
      std::memcpy(&stored, source + j * static_cast<Index>(sizeof(Stored)), sizeof stored);
      const auto value = static_cast<Between>(stored);
      is_finite &= std::abs(value) < limit;
      if constexpr (std::is_floating_point_v<Target>) {
        to(i, j) = static_cast<Target>(value);
      } else {
        to(i, j) = static_cast<Target>(static_cast<float>(value));
      }
    }
    if (!is_finite) bad = std::max(bad, i);
  }
  return bad;
}

template <class Stored>
Index copy_any(const std::byte* from, TensorView to) {
  switch (to.dtype) {
    case DType::f32:
      return copy_rows<Stored>(from, to.as<float>());
    case DType::f64:
      return copy_rows<Stored>(from, to.as<double>());
    case DType::bf16:
      return copy_rows<Stored>(from, to.as<bfloat16>());
    case DType::f16:
      return copy_rows<Stored>(from, to.as<float16>());
    case DType::i32:
      break;
  }
  KRONLAB_EXPECTS(false, "cannot read a tensor as {}", to_string(to.dtype));
}

std::string stored_name(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return "F64";
    case DType::f32:
      return "F32";
    case DType::f16:
      return "F16";
    case DType::bf16:
      return "BF16";
    case DType::i32:
      return "I32";
  }
  return "?";
}

}  // namespace

void convert_finite(const std::string& name, const std::string& type, std::span<const std::byte> from, TensorView to) {
  KRONLAB_EXPECTS(static_cast<Index>(from.size()) == to.rows * to.cols * width_of(type),
                  "tensor '{}': {} bytes of {} into {} x {}", name, from.size(), type, to.rows, to.cols);
  Index bad = -1;
  if (type == "F32") {
    bad = copy_any<float>(from.data(), to);
  } else if (type == "F64") {
    bad = copy_any<double>(from.data(), to);
  } else if (type == "F16") {
    bad = copy_any<float16>(from.data(), to);
  } else if (type == "BF16") {
    bad = copy_any<bfloat16>(from.data(), to);
  } else {
    throw DataError(fmt::format("tensor '{}' holds {}, expected F32, F64, F16 or BF16", name, type));
  }
  if (bad >= 0)
    throw DataError(fmt::format("tensor '{}' has a value in row {} that is NaN, infinite or beyond {}", name, bad,
                                to_string(to.dtype)));
}

SafetensorsFile::SafetensorsFile(const std::string& path) : file_(path) {
  const auto bytes = file_.bytes();
  std::uint64_t header_size = 0;
  if (bytes.size() < sizeof header_size)
    throw DataError(fmt::format("'{}': {} bytes are too few for a safetensors file", path, bytes.size()));
  std::memcpy(&header_size, bytes.data(), sizeof header_size);
  if (header_size > bytes.size() - sizeof header_size) {
    throw DataError(fmt::format("'{}': the header says {} bytes, the file has {}", path, header_size, bytes.size()));
  }
  const std::size_t data_begin = sizeof header_size + header_size;
  const std::size_t data_size = bytes.size() - data_begin;
  const Json header =
      parse_unique_object({reinterpret_cast<const char*>(bytes.data()) + sizeof header_size, header_size}, path);
  std::vector<std::pair<std::size_t, std::size_t>> ranges;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      if (!entry.is_object()) throw DataError(fmt::format("'{}': __metadata__ is no object", path));
      for (const auto& [key, value] : entry.items())
        metadata_[key] = value.is_string() ? value.get<std::string>() : value.dump();
      continue;
    }
    const auto fail = [&](const std::string& message) {
      throw DataError(fmt::format("'{}': tensor '{}': {}", path, name, message));
    };
    const bool well_formed = entry.is_object() && entry.contains("dtype") && entry["dtype"].is_string() &&
                             entry.contains("shape") && entry["shape"].is_array() && entry.contains("data_offsets") &&
                             entry["data_offsets"].is_array() && entry["data_offsets"].size() == 2;
    if (!well_formed) fail("expected dtype, shape and two data_offsets");
    TensorInfo info;
    info.name = name;
    info.stored_type = entry["dtype"].get<std::string>();
    Index size = width_of(info.stored_type);
    if (size == 0) fail(fmt::format("unknown dtype '{}'", info.stored_type));
    for (const auto& extent : entry["shape"]) {
      if (!extent.is_number_unsigned()) fail("an extent is no unsigned integer");
      const auto value = extent.get<std::uint64_t>();
      if (value > std::uint64_t{1} << 62) fail("an extent overflows");
      info.shape.push_back(static_cast<Index>(value));
      size = checked_product(size, static_cast<Index>(value), name.c_str());
    }
    if (!entry["data_offsets"][0].is_number_unsigned() || !entry["data_offsets"][1].is_number_unsigned())
      fail("data_offsets are no unsigned integers");
    const auto begin = entry["data_offsets"][0].get<std::uint64_t>(),
               end = entry["data_offsets"][1].get<std::uint64_t>();
    if (begin > end || end > data_size)
      fail(fmt::format("data_offsets {} to {} are outside the {} bytes of data", begin, end, data_size));
    if (end - begin != static_cast<std::uint64_t>(size))
      fail(fmt::format("{} bytes of data, but dtype and shape need {}", end - begin, size));
    info.stored_bytes = size;
    if (size > 0) ranges.emplace_back(begin, end);
    places_[name] = {data_begin + begin, data_begin + end};
    infos_.push_back(std::move(info));
  }
  std::ranges::sort(ranges);
  for (std::size_t i = 1; i < ranges.size(); ++i) {
    if (ranges[i].first < ranges[i - 1].second)
      throw DataError(fmt::format("'{}': tensors overlap at byte {} of the data", path, ranges[i].first));
  }
  std::ranges::sort(infos_, {}, &TensorInfo::name);
}

std::span<const std::byte> SafetensorsFile::data_of(const std::string& name) const {
  info(name);
  const auto& place = places_.at(name);
  return file_.bytes().subspan(place.begin, place.end - place.begin);
}

void SafetensorsFile::read(const std::string& name, TensorView to) const {
  expect_fits(name, info(name).shape, to);
  convert_finite(name, info(name).stored_type, data_of(name), to);
  file_.release(data_of(name));
}

std::vector<Index> SafetensorsFile::read_integers(const std::string& name) const {
  const auto bytes = data_of(name);
  const auto& type = info(name).stored_type;
  if (type != "I32" && type != "I64")
    throw DataError(fmt::format("tensor '{}' holds {}, expected I32 or I64", name, type));
  const auto width = static_cast<std::size_t>(width_of(type));
  std::vector<Index> values(bytes.size() / width);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (width == 8) {
      std::memcpy(&values[i], bytes.data() + 8 * i, 8);
    } else {
      std::int32_t value = 0;
      std::memcpy(&value, bytes.data() + 4 * i, 4);
      values[i] = value;
    }
  }
  return values;
}

void write_safetensors(const std::string& path, std::span<const NamedTensor> tensors,
                       const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header;
  header["__metadata__"] = metadata;
  header["__metadata__"]["format"] = "pt";
  Index offset = 0;
  for (const auto& tensor : tensors) {
    Index count = 1;
    for (const Index extent : tensor.shape) count = checked_product(count, extent, tensor.name.c_str());
    KRONLAB_EXPECTS(count == tensor.data.rows * tensor.data.cols && !header.contains(tensor.name),
                    "tensor '{}': {} values for a shape of {}, or its name is taken", tensor.name,
                    tensor.data.rows * tensor.data.cols, count);
    KRONLAB_EXPECTS(tensor.data.stride == tensor.data.cols || tensor.data.rows <= 1, "tensor '{}' is not contiguous",
                    tensor.name);
    const Index size = tensor.data.rows * tensor.data.cols * size_of(tensor.data.dtype);
    header[tensor.name] = {
        {"dtype", stored_name(tensor.data.dtype)}, {"shape", tensor.shape}, {"data_offsets", {offset, offset + size}}};
    offset += size;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::string temporary = fmt::format("{}.{}.tmp", path, ::getpid());
  const auto fail = [&](const char* action) {
    const int reason = errno;
    ::unlink(temporary.c_str());
    throw StorageError(fmt::format("cannot {} '{}': {}", action, path, std::strerror(reason)));
  };
  std::FILE* file = std::fopen(temporary.c_str(), "wb");
  if (!file) fail("create");
  const std::uint64_t header_size = text.size();
  bool good = std::fwrite(&header_size, sizeof header_size, 1, file) == 1 &&
              std::fwrite(text.data(), text.size(), 1, file) == 1;
  for (const auto& tensor : tensors) {
    const auto size = static_cast<std::size_t>(tensor.data.rows * tensor.data.cols * size_of(tensor.data.dtype));
    good = good && (size == 0 || std::fwrite(tensor.data.data, size, 1, file) == 1);
  }
  good = good && std::fflush(file) == 0 && ::fsync(::fileno(file)) == 0;
  const int reason = errno;
  std::fclose(file);
  errno = reason;
  if (!good) fail("write");
  if (std::rename(temporary.c_str(), path.c_str()) != 0) fail("rename to");
}

}  // namespace kronlab::storage
