#include "framework/storage/shared_arrays.hpp"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "framework/storage/hdf5_format.hpp"

namespace kronlab::storage {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::size_t value_bytes = 8;  // double or Index

/// What all ranks know of an array, so that all create it.
struct Header {
  std::vector<Index> shape;
  bool is_integer = false;
  Attributes attributes;
  std::size_t count = 0;
  const OwnedArray* own = nullptr;  ///< null: another rank has it

  hid_t stored_type() const { return is_integer ? H5T_STD_I64LE : H5T_IEEE_F64LE; }
};

std::size_t count_of(const OwnedArray& array) {
  return std::visit([](const auto& values) { return values.size(); }, array.values);
}

std::string headers_text(std::span<const OwnedArray> own) {
  json headers = json::array();
  for (const auto& array : own) {
    expect_array(array.name, array.shape, count_of(array));
    headers.push_back({array.name, array.shape, std::holds_alternative<std::vector<Index>>(array.values), array.attributes, count_of(array)});
  }
  return headers.dump();
}

/// By name, the same on all ranks but for `own`.
std::map<std::string, Header> all_headers(const comm::Communicator& communicator, std::span<const OwnedArray> own) {
  const auto text = comm::coordinate(communicator, [&] { return headers_text(own); });
  const auto texts = communicator.all_gather(text);
  return comm::coordinate(communicator, [&] {
    std::map<std::string, Header> headers;
    for (std::size_t rank = 0; rank < texts.size(); ++rank) {
      const json list = json::parse(texts[rank]);
      for (std::size_t i = 0; i < list.size(); ++i) {
        const json& j = list[i];
        const bool is_own = rank == static_cast<std::size_t>(communicator.rank());
        Header header{j.at(1), j.at(2), j.at(3), j.at(4), is_own ? &own[i] : nullptr};
        const auto name = j.at(0).get<std::string>();
        if (!headers.emplace(name, std::move(header)).second) throw StorageError(fmt::format("array '{}' is there twice", name));
      }
    }
    return headers;
  });
}

/// What cannot work is said by root before all ranks open the file together: MPI-IO names no reason, and a write that
/// finds no space would leave HDF5 with an open file on one rank.
void expect_space(const std::string& path, const std::string& temporary, const std::map<std::string, Header>& headers) {
  const int file = ::open(temporary.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0666);
  if (file < 0) throw StorageError(fmt::format("cannot create '{}': {}", path, std::strerror(errno)));
  ::close(file);
  constexpr std::size_t header_bytes = 4096;  // of an array and its share of the groups, generously
  std::size_t needed = header_bytes;
  for (const auto& [name, header] : headers) needed += header_bytes + header.count * value_bytes;
  struct statvfs disk {};
  if (::statvfs(temporary.c_str(), &disk) != 0) return;  // then the write says it
  const std::size_t available = static_cast<std::size_t>(disk.f_bavail) * disk.f_frsize;
  if (available < needed) throw StorageError(fmt::format("cannot write '{}': {} bytes are needed, {} are free: {}", path, needed, available, std::strerror(ENOSPC)));
}

Hdf5Handle open_together(const comm::Communicator& communicator, const std::string& temporary) {
  const Hdf5Handle access = file_access();
  H5Pset_fapl_mpio(access.id(), communicator.handle(), MPI_INFO_NULL);
  H5Pset_coll_metadata_write(access.id(), true);
  return {H5Fcreate(temporary.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.id()), H5Fclose};
}

/// Every rank creates every array, in the sequence of names: what HDF5 wants of metadata.
std::map<std::string, Hdf5Handle> create_all(hid_t file, const std::map<std::string, Header>& headers) {
  const Hdf5Handle links = intermediate_groups();
  const Hdf5Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_fill_time(creation.id(), H5D_FILL_TIME_NEVER);
  H5Pset_obj_track_times(creation.id(), false);
  std::map<std::string, Hdf5Handle> arrays;
  for (const auto& [name, header] : headers) {
    const Hdf5Handle space = space_of(header.shape);
    Hdf5Handle array(H5Dcreate2(file, name.c_str(), header.stored_type(), space.id(), links.id(), creation.id(), H5P_DEFAULT), H5Dclose);
    if (!array.is_valid()) throw StorageError(fmt::format("array '{}': {}", name, hdf5_reason()));
    for (const auto& [key, text] : header.attributes) {
      if (!write_attribute(array.id(), key, text)) throw StorageError(fmt::format("attribute '{}' of array '{}': {}", key, name, hdf5_reason()));
    }
    arrays.emplace(name, std::move(array));
  }
  return arrays;
}

void write_own(const std::map<std::string, Hdf5Handle>& arrays, const std::map<std::string, Header>& headers) {
  for (const auto& [name, header] : headers) {
    if (!header.own || header.count == 0) continue;
    const void* values = std::visit([](const auto& all) -> const void* { return all.data(); }, header.own->values);
    const hid_t in_memory = header.is_integer ? H5T_NATIVE_INT64 : H5T_NATIVE_DOUBLE;
    if (H5Dwrite(arrays.at(name).id(), in_memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0)
      throw StorageError(fmt::format("array '{}': {}", name, hdf5_reason()));
  }
}

/// All ranks close the file, whatever became of their own arrays: closing is collective.
void write_and_close(const comm::Communicator& communicator, const std::string& path, const std::string& temporary,
                     const std::map<std::string, Header>& headers) {
  Hdf5Handle file = open_together(communicator, temporary);
  std::string problem = file.is_valid() ? "" : hdf5_reason();
  if (file.is_valid()) {
    std::map<std::string, Hdf5Handle> arrays;
    try {
      arrays = create_all(file.id(), headers);
      write_own(arrays, headers);
    } catch (const Error& error) {
      problem = error.what();
    }
    for (auto& [name, array] : arrays) {
      if (!array.close() && problem.empty()) problem = hdf5_reason();
    }
    if (H5Fflush(file.id(), H5F_SCOPE_GLOBAL) < 0 && problem.empty()) problem = hdf5_reason();
    if (!file.close() && problem.empty()) problem = hdf5_reason();
  }
  comm::coordinate(communicator, [&] {
    if (!problem.empty()) throw StorageError(fmt::format("cannot write '{}': {}", path, problem));
  });
}

}  // namespace

void write_shared_arrays(const comm::Communicator& communicator, const std::string& path, std::span<const OwnedArray> own) {
  silence_hdf5();
  const auto headers = all_headers(communicator, own);
  const std::string temporary = communicator.broadcast(fmt::format("{}.{}.tmp", path, ::getpid()));
  const auto remove_temporary = [&] {
    if (communicator.is_root()) ::unlink(temporary.c_str());
  };
  try {
    comm::coordinate(communicator, [&] {
      if (communicator.is_root()) expect_space(path, temporary, headers);
    });
    write_and_close(communicator, path, temporary, headers);
    comm::coordinate(communicator, [&] {
      if (communicator.is_root()) publish(temporary, path);
    });
  } catch (const Error&) {
    remove_temporary();
    throw;
  }
}

}  // namespace kronlab::storage
