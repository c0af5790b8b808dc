#pragma once

#include <filesystem>
#include <string>

#include "framework/storage/array_file.hpp"

namespace kronlab::analysis {

/// An array as CSV: a column for each axis with the element's place in it from 0, then its value. The header has the axes
/// as the array's attribute "axes" names them (else axis0, axis1, ...) and the unit: "term,value [nat]". Numbers read back
/// the same; what is not finite is nan, inf or -inf. @throws StorageError if it cannot be read or written
void write_array_csv(const storage::ArrayReader& arrays, const std::string& name, const std::filesystem::path& path);

}  // namespace kronlab::analysis
