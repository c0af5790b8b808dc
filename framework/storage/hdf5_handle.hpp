#pragma once

#include <hdf5.h>

#include <string>
#include <utility>

#include "framework/base/error.hpp"

namespace kronlab::storage {

/// Owns one HDF5 identifier; closes it with the function that belongs to its kind.
class Hdf5Handle {
 public:
  using Close = herr_t (*)(hid_t);

  Hdf5Handle() = default;
  Hdf5Handle(hid_t id, Close close_with) : id_(id), close_(close_with) {}
  Hdf5Handle(Hdf5Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Hdf5Handle& operator=(Hdf5Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
    return *this;
  }
  ~Hdf5Handle() { close(); }

  hid_t id() const { return id_; }
  bool is_valid() const { return id_ >= 0; }
  /// Whether HDF5 could close it; nothing is owned afterwards.
  bool close() {
    const hid_t id = std::exchange(id_, -1);
    return id < 0 || close_(id) >= 0;
  }

 private:
  hid_t id_ = -1;
  Close close_ = nullptr;
};

/// What HDF5 says of the last call that failed: its innermost message, and with it the system's text.
std::string hdf5_reason();
/// HDF5 prints its errors unless told not to; here they become exceptions. Idempotent.
void silence_hdf5();

}  // namespace kronlab::storage
