#pragma once

#include <span>
#include <string>

#include "framework/base/types.hpp"
#include "framework/storage/hdf5_handle.hpp"

namespace kronlab::storage {

// How the project's HDF5 files are made: what ArrayFile (one process) and write_shared_arrays (all ranks) have in common.

/// Of a file that every HDF5 since 1.8 reads, without locks.
Hdf5Handle file_access();
/// A scalar where `shape` is empty.
Hdf5Handle space_of(std::span<const Index> shape);
/// Makes the groups between, names in UTF-8.
Hdf5Handle intermediate_groups();
/// UTF-8 texts of `length` bytes, shorter ones padded with zeros.
Hdf5Handle text_type(std::size_t length);
/// False: HDF5 could not (hdf5_reason()).
bool write_attribute(hid_t array, const std::string& key, const std::string& text);
/// @pre `name` is a path of non-empty parts, no extent is negative, their product is `count`
void expect_array(const std::string& name, std::span<const Index> shape, std::size_t count);
/// Flushes a closed file to the disk, then renames it. @throws StorageError with `path` and the system's reason
void publish(const std::string& temporary, const std::string& path);

}  // namespace kronlab::storage
