#pragma once

#include <span>
#include <string>
#include <variant>
#include <vector>

#include "framework/comm/communicator.hpp"
#include "framework/storage/array_file.hpp"

namespace kronlab::storage {

/// An array that one rank has: its name in the file, as ArrayFile::write has it, and its values, row-major.
struct OwnedArray {
  std::string name;
  std::vector<Index> shape;
  std::variant<std::vector<double>, std::vector<Index>> values;
  Attributes attributes;
};

/// Writes what all ranks have into one HDF5 file by parallel HDF5: every rank its own arrays, whose values no other rank
/// sees. Arrays are contiguous and not compressed, as ranks write independently of each other; they lie in the file by name,
/// so that it is the same for any partition of the arrays to ranks.
///
/// The file is written under a temporary name beside `path`, flushed to the disk and renamed by root: `path` is whole or as
/// it was before. Collective.
/// @throws CollectiveError (StorageError: a name that two ranks have or that is no path, no space, what HDF5 or the system say)
void write_shared_arrays(const comm::Communicator& communicator, const std::string& path, std::span<const OwnedArray> own);

}  // namespace kronlab::storage
