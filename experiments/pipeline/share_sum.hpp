#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "framework/comm/communicator.hpp"

namespace kronlab::experiments {

/// The first of `owners` hands its `size` values to the others; nothing happens on other ranks. Of the owners.
inline void share_with(const comm::Communicator& communicator, const std::vector<int>& owners, std::vector<double>& values, Index size) {
  constexpr int tag = 72;
  const int first = owners.front();
  if (communicator.rank() == first) {
    for (std::size_t i = 1; i < owners.size(); ++i) communicator.send_bytes(std::as_bytes(std::span(values)), owners[i], tag);
  } else if (std::ranges::find(owners, communicator.rank()) != owners.end()) {
    values.resize(static_cast<std::size_t>(size));
    communicator.receive_bytes(std::as_writable_bytes(std::span(values)), first, tag);
  }
}

}  // namespace kronlab::experiments
