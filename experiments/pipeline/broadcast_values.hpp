#pragma once

#include <algorithm>
#include <string>
#include <type_traits>
#include <vector>

#include "framework/comm/communicator.hpp"

namespace kronlab::experiments {

/// Root's values, however many, become those of all ranks. Collective.
template <class T>
void broadcast_values(const comm::Communicator& communicator, std::vector<T>& values) {
  static_assert(std::is_trivially_copyable_v<T>);
  std::string bytes(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
  bytes = communicator.broadcast(std::move(bytes));
  values.resize(bytes.size() / sizeof(T));
  std::copy_n(bytes.data(), bytes.size(), reinterpret_cast<char*>(values.data()));
}

}  // namespace kronlab::experiments
