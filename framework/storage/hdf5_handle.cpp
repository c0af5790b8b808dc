#include "framework/storage/hdf5_handle.hpp"

namespace kronlab::storage {

std::string hdf5_reason() {
  std::string reason;
  const auto keep_innermost = [](unsigned, const H5E_error2_t* entry, void* text) -> herr_t {
    if (entry->desc && *entry->desc) *static_cast<std::string*>(text) = entry->desc;
    return 1;  // the walk starts at the innermost message: stop there
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_innermost, &reason);
  return reason.empty() ? "HDF5 gives no reason" : reason;
}

void silence_hdf5() { H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr); }

}  // namespace kronlab::storage
