#pragma once

#include <cstdint>

namespace kronlab {

/// A count of what this process has got done, in any unit: it stands still where something hangs. For a watchdog.
struct SignOfLife {
  static void give();
  static std::uint64_t count();
};

}  // namespace kronlab
