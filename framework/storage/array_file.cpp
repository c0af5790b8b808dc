#include "framework/storage/array_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>

#include "framework/storage/hdf5_format.hpp"

namespace kronlab::storage {
namespace {

constexpr Index compressed_above_bytes = 64 << 10;
constexpr Index chunk_bytes = 1 << 20;

/// Large arrays in chunks of at most 1 MiB, cut along the slowest extents first.
Hdf5Handle creation_properties(std::span<const Index> shape, Index element_bytes, Index total_bytes) {
  Hdf5Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  if (total_bytes <= compressed_above_bytes) return properties;
  std::vector<hsize_t> chunk(shape.begin(), shape.end());
  Index bytes = total_bytes;
  for (hsize_t& extent : chunk) {
    const Index one = bytes / static_cast<Index>(extent);
    const Index wanted = std::clamp<Index>(chunk_bytes / std::max<Index>(one, 1), 1, static_cast<Index>(extent));
    extent = static_cast<hsize_t>(wanted);
    bytes = one * wanted;
  }
  H5Pset_chunk(properties.id(), static_cast<int>(chunk.size()), chunk.data());
  if (element_bytes > 1) H5Pset_shuffle(properties.id());
  H5Pset_deflate(properties.id(), 4);
  return properties;
}

}  // namespace

struct ArrayFile::State {
  std::string path;
  std::string temporary;
  Hdf5Handle file;
  Hdf5Handle links;         ///< makes the groups between
  bool is_damaged = false;  ///< an array is there in part: such a file is never published

  State(const std::string& path_) : path(path_), temporary(fmt::format("{}.{}.tmp", path_, ::getpid())) {
    silence_hdf5();
    const Hdf5Handle access = file_access();
    file = Hdf5Handle(H5Fcreate(temporary.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.id()), H5Fclose);
    if (!file.is_valid()) throw StorageError(fmt::format("cannot create '{}': {}", path, hdf5_reason()));
    links = intermediate_groups();
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (!file.is_valid()) return;
    file.close();
    ::unlink(temporary.c_str());
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw StorageError(fmt::format("cannot write {} to '{}': {}", what, path, hdf5_reason()));
  }

  void write(const std::string& name, std::span<const Index> shape, hid_t stored_type, hid_t memory_type,
             const void* values, std::size_t count, const Attributes& attributes) {
    expect_array(name, shape, count);
    KRONLAB_EXPECTS(file.is_valid(), "array '{}' is written after close()", name);
    const auto size = static_cast<Index>(count);
    const std::string what = fmt::format("array '{}'", name);
    const Index element_bytes = static_cast<Index>(H5Tget_size(stored_type));
    const Hdf5Handle space = space_of(shape);
    const Hdf5Handle creation = creation_properties(shape, element_bytes, size * element_bytes);
    Hdf5Handle dataset(
        H5Dcreate2(file.id(), name.c_str(), stored_type, space.id(), links.id(), creation.id(), H5P_DEFAULT), H5Dclose);
    if (!dataset.is_valid()) fail(what);
    is_damaged = true;
    if (size > 0 && H5Dwrite(dataset.id(), memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0) fail(what);
    for (const auto& [key, text] : attributes) {
      if (!write_attribute(dataset.id(), key, text)) fail(fmt::format("attribute '{}' of array '{}'", key, name));
    }
    if (!dataset.close()) fail(what);
    is_damaged = false;
  }

  void write_texts(const std::string& name, std::span<const Index> shape, std::span<const std::string> texts) {
    std::size_t width = 1;
    for (const auto& text : texts) width = std::max(width, text.size());
    std::string padded(width * texts.size(), '\0');
    for (std::size_t i = 0; i < texts.size(); ++i) texts[i].copy(padded.data() + i * width, width);
    const Hdf5Handle type = text_type(width);
    write(name, shape, type.id(), type.id(), padded.data(), texts.size(), {});
  }
};

ArrayFile::ArrayFile(const std::string& path) : state_(std::make_unique<State>(path)) {}
ArrayFile::ArrayFile(ArrayFile&&) noexcept = default;
ArrayFile& ArrayFile::operator=(ArrayFile&&) noexcept = default;
ArrayFile::~ArrayFile() = default;

void ArrayFile::write(const std::string& name, std::span<const Index> shape, std::span<const double> values,
                      const Attributes& attributes) {
  state_->write(name, shape, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, values.data(), values.size(), attributes);
}

void ArrayFile::write(const std::string& name, std::span<const Index> shape, std::span<const float> values,
                      const Attributes& attributes) {
  state_->write(name, shape, H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, values.data(), values.size(), attributes);
}

void ArrayFile::write(const std::string& name, std::span<const Index> shape, std::span<const Index> values,
                      const Attributes& attributes) {
  state_->write(name, shape, H5T_STD_I64LE, H5T_NATIVE_INT64, values.data(), values.size(), attributes);
}

void ArrayFile::write(const std::string& name, std::span<const Index> shape, std::span<const std::int32_t> values,
                      const Attributes& attributes) {
  state_->write(name, shape, H5T_STD_I32LE, H5T_NATIVE_INT32, values.data(), values.size(), attributes);
}

void ArrayFile::write_text(const std::string& name, const std::string& text) {
  state_->write_texts(name, {}, std::span(&text, 1));
}

void ArrayFile::write_metrics(std::span<const Metric> metrics) {
  const auto texts = [&](const char* column, std::string Metric::*member) {
    std::vector<std::string> values;
    for (const auto& metric : metrics) values.push_back(metric.*member);
    const Index length = static_cast<Index>(values.size());
    state_->write_texts(std::string("metrics/") + column, std::span(&length, 1), values);
  };
  const auto integers = [&](const char* column, std::int64_t Metric::*member) {
    std::vector<Index> values;
    for (const auto& metric : metrics) values.push_back(metric.*member);
    write_vector(std::string("metrics/") + column, values);
  };
  texts("name", &Metric::name);
  texts("unit", &Metric::unit);
  texts("layer", &Metric::layer);
  texts("dataset", &Metric::dataset);
  texts("protocol", &Metric::protocol);
  integers("stage", &Metric::stage);
  integers("step", &Metric::step);
  std::vector<double> values, errors;
  for (const auto& metric : metrics) {
    values.push_back(metric.value);
    errors.push_back(metric.standard_error.value_or(std::numeric_limits<double>::quiet_NaN()));
  }
  write_vector("metrics/value", values);
  write_vector("metrics/standard_error", errors);
}

void ArrayFile::close() {
  State& state = *state_;
  KRONLAB_EXPECTS(state.file.is_valid(), "'{}' is closed twice", state.path);
  if (state.is_damaged) throw StorageError(fmt::format("'{}' is not written: an array failed before", state.path));
  if (H5Fflush(state.file.id(), H5F_SCOPE_GLOBAL) < 0) state.fail("the arrays");
  const bool closed = state.file.close();
  try {
    if (!closed) state.fail("the arrays");
    publish(state.temporary, state.path);
  } catch (...) {
    ::unlink(state.temporary.c_str());
    throw;
  }
}

struct ArrayReader::State {
  std::string path;
  Hdf5Handle file;

  explicit State(const std::string& path_) : path(path_) {
    silence_hdf5();
    const int probe = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (probe < 0) throw StorageError(fmt::format("cannot open '{}': {}", path, std::strerror(errno)));
    ::close(probe);
    const Hdf5Handle access = file_access();
    file = Hdf5Handle(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.id()), H5Fclose);
    if (!file.is_valid()) {
      throw StorageError(fmt::format("'{}' is no whole HDF5 file: {}", path, hdf5_reason()));
    }
  }

  [[noreturn]] void fail(const std::string& name, const std::string& message) const {
    throw StorageError(fmt::format("'{}': array '{}': {}", path, name, message));
  }

  Hdf5Handle dataset(const std::string& name) const {
    Hdf5Handle opened(H5Dopen2(file.id(), name.empty() ? "/" : name.c_str(), H5P_DEFAULT), H5Dclose);
    if (!opened.is_valid()) fail(name, "cannot be opened: " + hdf5_reason());
    return opened;
  }

  std::vector<Index> shape(const std::string& name, const Hdf5Handle& opened) const {
    const Hdf5Handle space(H5Dget_space(opened.id()), H5Sclose);
    const int rank = space.is_valid() ? H5Sget_simple_extent_ndims(space.id()) : -1;
    if (rank < 0) fail(name, "has no shape: " + hdf5_reason());
    std::vector<hsize_t> extents(static_cast<std::size_t>(rank));
    if (rank > 0) H5Sget_simple_extent_dims(space.id(), extents.data(), nullptr);
    if (H5Sget_simple_extent_type(space.id()) == H5S_NULL) return {0};
    for (const hsize_t extent : extents) {
      if (extent > hsize_t{1} << 62) fail(name, fmt::format("an extent of {} overflows", extent));
    }
    return {extents.begin(), extents.end()};
  }

  /// Number of elements; refuses more than the stored bytes can stand for, so that a damaged shape asks for no memory.
  std::size_t count(const std::string& name, const Hdf5Handle& opened, std::size_t element_bytes) const {
    constexpr Index small = 64 << 20, best_compression = 1100;
    Index size = 1;
    for (const Index extent : shape(name, opened)) {
      if (extent != 0 && size > std::numeric_limits<Index>::max() / extent) fail(name, "its size overflows");
      size *= extent;
    }
    const auto stored = static_cast<Index>(std::min<hsize_t>(H5Dget_storage_size(opened.id()), hsize_t{1} << 52));
    const Index limit = std::max(small, stored * best_compression) / static_cast<Index>(element_bytes);
    if (size > limit) fail(name, fmt::format("{} elements cannot come from {} stored bytes", size, stored));
    return static_cast<std::size_t>(size);
  }

  void read(const std::string& name, const Hdf5Handle& opened, hid_t memory_type, void* to) const {
    if (H5Dread(opened.id(), memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, to) < 0) {
      fail(name, "cannot be read: " + hdf5_reason());
    }
  }

  std::vector<std::string> texts(const std::string& name) const {
    const Hdf5Handle opened = dataset(name);
    const Hdf5Handle stored(H5Dget_type(opened.id()), H5Tclose);
    if (H5Tget_class(stored.id()) != H5T_STRING) fail(name, "holds no text");
    if (H5Tis_variable_str(stored.id()) > 0) return variable_texts(name, opened, stored);
    const std::size_t width = H5Tget_size(stored.id());
    const std::size_t size = count(name, opened, width);
    std::string padded(width * size, '\0');
    if (size > 0) read(name, opened, stored.id(), padded.data());
    std::vector<std::string> result;
    for (std::size_t i = 0; i < size; ++i) {
      std::string text = padded.substr(i * width, width);
      const auto last = text.find_last_not_of('\0');
      text.resize(last == std::string::npos ? 0 : last + 1);
      result.push_back(std::move(text));
    }
    return result;
  }

  std::vector<std::string> variable_texts(const std::string& name, const Hdf5Handle& opened,
                                          const Hdf5Handle& stored) const {
    std::vector<char*> pointers(count(name, opened, sizeof(char*)), nullptr);
    if (pointers.empty()) return {};
    read(name, opened, stored.id(), pointers.data());
    std::vector<std::string> result;
    for (const char* pointer : pointers) result.emplace_back(pointer ? pointer : "");
    const Hdf5Handle space(H5Dget_space(opened.id()), H5Sclose);
    H5Dvlen_reclaim(stored.id(), space.id(), H5P_DEFAULT, pointers.data());
    return result;
  }
};

ArrayReader::ArrayReader(const std::string& path) : state_(std::make_unique<State>(path)) {}
ArrayReader::ArrayReader(ArrayReader&&) noexcept = default;
ArrayReader& ArrayReader::operator=(ArrayReader&&) noexcept = default;
ArrayReader::~ArrayReader() = default;

std::vector<std::string> ArrayReader::names() const {
  std::vector<std::string> found;
  const auto visit = [](hid_t, const char* name, const H5O_info_t* info, void* list) -> herr_t {
    if (info->type == H5O_TYPE_DATASET) static_cast<std::vector<std::string>*>(list)->emplace_back(name);
    return 0;
  };
  if (H5Ovisit2(state_->file.id(), H5_INDEX_NAME, H5_ITER_NATIVE, visit, &found, H5O_INFO_BASIC) < 0) {
    throw StorageError(fmt::format("'{}': cannot list its arrays: {}", state_->path, hdf5_reason()));
  }
  std::ranges::sort(found);
  return found;
}

bool ArrayReader::contains(const std::string& name) const {
  const auto all = names();
  return std::ranges::binary_search(all, name);
}

std::vector<Index> ArrayReader::shape(const std::string& name) const {
  return state_->shape(name, state_->dataset(name));
}

Attributes ArrayReader::attributes(const std::string& name) const {
  const Hdf5Handle opened = state_->dataset(name);
  Attributes result;
  const auto visit = [](hid_t dataset, const char* key, const H5A_info_t*, void* list) -> herr_t {
    const Hdf5Handle attribute(H5Aopen(dataset, key, H5P_DEFAULT), H5Aclose);
    const Hdf5Handle type(H5Aget_type(attribute.id()), H5Tclose);
    if (H5Tget_class(type.id()) != H5T_STRING || H5Tis_variable_str(type.id()) > 0) return 0;
    std::string text(H5Aget_storage_size(attribute.id()), '\0');
    if (text.size() != H5Tget_size(type.id()) || H5Aread(attribute.id(), type.id(), text.data()) < 0) return -1;
    const auto last = text.find_last_not_of('\0');
    text.resize(last == std::string::npos ? 0 : last + 1);
    (*static_cast<Attributes*>(list))[key] = std::move(text);
    return 0;
  };
  if (H5Aiterate2(opened.id(), H5_INDEX_NAME, H5_ITER_NATIVE, nullptr, visit, &result) < 0) {
    state_->fail(name, "its attributes cannot be read: " + hdf5_reason());
  }
  return result;
}

std::vector<double> ArrayReader::read_f64(const std::string& name) const {
  const Hdf5Handle opened = state_->dataset(name);
  const Hdf5Handle stored(H5Dget_type(opened.id()), H5Tclose);
  const H5T_class_t kind = H5Tget_class(stored.id());
  if (kind != H5T_FLOAT && kind != H5T_INTEGER) state_->fail(name, "holds no numbers");
  std::vector<double> values(state_->count(name, opened, sizeof(double)));
  if (!values.empty()) state_->read(name, opened, H5T_NATIVE_DOUBLE, values.data());
  return values;
}

bool ArrayReader::is_integer(const std::string& name) const {
  const Hdf5Handle opened = state_->dataset(name);
  const Hdf5Handle stored(H5Dget_type(opened.id()), H5Tclose);
  return H5Tget_class(stored.id()) == H5T_INTEGER;
}

bool ArrayReader::is_text(const std::string& name) const {
  const Hdf5Handle opened = state_->dataset(name);
  const Hdf5Handle stored(H5Dget_type(opened.id()), H5Tclose);
  return H5Tget_class(stored.id()) == H5T_STRING;
}

std::vector<Index> ArrayReader::read_i64(const std::string& name) const {
  const Hdf5Handle opened = state_->dataset(name);
  const Hdf5Handle stored(H5Dget_type(opened.id()), H5Tclose);
  if (H5Tget_class(stored.id()) != H5T_INTEGER) state_->fail(name, "holds no integers");
  // HDF5 would silently cut what is above the largest signed integer.
  if (H5Tget_sign(stored.id()) == H5T_SGN_NONE && H5Tget_size(stored.id()) >= 8) {
    state_->fail(name, "holds unsigned integers of 64 bits, expected signed or shorter ones");
  }
  std::vector<Index> values(state_->count(name, opened, sizeof(Index)));
  if (!values.empty()) state_->read(name, opened, H5T_NATIVE_INT64, values.data());
  return values;
}

std::string ArrayReader::read_text(const std::string& name) const {
  auto texts = state_->texts(name);
  if (texts.size() != 1) state_->fail(name, fmt::format("holds {} texts, expected one", texts.size()));
  return std::move(texts.front());
}

std::vector<std::string> ArrayReader::read_texts(const std::string& name) const { return state_->texts(name); }

}  // namespace kronlab::storage
