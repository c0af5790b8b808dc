#include "framework/storage/hdf5_format.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

namespace kronlab::storage {

Hdf5Handle file_access() {
  Hdf5Handle properties(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_libver_bounds(properties.id(), H5F_LIBVER_EARLIEST, H5F_LIBVER_LATEST);
  // A name that nobody else has needs no lock, and locks fail on some network file systems.
  H5Pset_file_locking(properties.id(), false, true);
  return properties;
}

Hdf5Handle space_of(std::span<const Index> shape) {
  if (shape.empty()) return {H5Screate(H5S_SCALAR), H5Sclose};
  const std::vector<hsize_t> extents(shape.begin(), shape.end());
  return {H5Screate_simple(static_cast<int>(extents.size()), extents.data(), nullptr), H5Sclose};
}

Hdf5Handle intermediate_groups() {
  Hdf5Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
  H5Pset_create_intermediate_group(links.id(), 1);
  H5Pset_char_encoding(links.id(), H5T_CSET_UTF8);
  return links;
}

Hdf5Handle text_type(std::size_t length) {
  Hdf5Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.id(), std::max<std::size_t>(length, 1));  // HDF5 knows no type of 0 bytes
  H5Tset_cset(type.id(), H5T_CSET_UTF8);
  H5Tset_strpad(type.id(), H5T_STR_NULLPAD);
  return type;
}

bool write_attribute(hid_t array, const std::string& key, const std::string& text) {
  const Hdf5Handle type = text_type(text.size());
  const Hdf5Handle space = space_of({});
  const Hdf5Handle attribute(H5Acreate2(array, key.c_str(), type.id(), space.id(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  return attribute.is_valid() && H5Awrite(attribute.id(), type.id(), text.c_str()) >= 0;
}

void expect_array(const std::string& name, std::span<const Index> shape, std::size_t count) {
  const bool is_path = !name.empty() && !name.starts_with('/') && !name.ends_with('/') && name.find("//") == std::string::npos &&
                       name.find('\0') == std::string::npos;
  KRONLAB_EXPECTS(is_path, "array name '{}': expected parts between single slashes, none at the ends", name);
  Index size = 1;
  for (const Index extent : shape) {
    KRONLAB_EXPECTS(extent >= 0, "array '{}' has a negative extent {}", name, extent);
    size = checked_product(size, extent, name.c_str());
  }
  KRONLAB_EXPECTS(size == static_cast<Index>(count), "array '{}': {} values for a shape of {}", name, count, size);
}

void publish(const std::string& temporary, const std::string& path) {
  const int file = ::open(temporary.c_str(), O_RDONLY | O_CLOEXEC);
  const bool good = file >= 0 && ::fsync(file) == 0;
  const int reason = errno;
  if (file >= 0) ::close(file);
  if (!good) throw StorageError(fmt::format("cannot flush '{}': {}", path, std::strerror(reason)));
  if (std::rename(temporary.c_str(), path.c_str()) != 0)
    throw StorageError(fmt::format("cannot rename to '{}': {}", path, std::strerror(errno)));
}

}  // namespace kronlab::storage
