#pragma once

#include <cstdint>

#include "framework/base/error.hpp"

namespace kronlab {

/// Signed size of anything that is counted: rows, columns, tokens, bytes.
using Index = std::int64_t;

/// `value` as `To`, e.g. toward MPI and LAPACK, whose counts are `int`. @throws ContractError if it does not fit.
template <class To, class From>
To checked_cast(From value) {
  const auto result = static_cast<To>(value);
  KRONLAB_EXPECTS(static_cast<From>(result) == value && (result < To{}) == (value < From{}),
                  "integer {} does not fit the type it is converted to", value);
  return result;
}

/// a * b for sizes read from files. @throws DataError on overflow or a negative factor; `what` says what was counted.
inline Index checked_product(Index a, Index b, const char* what) {
  Index result = 0;
  if (a < 0 || b < 0 || __builtin_mul_overflow(a, b, &result)) {
    throw DataError(fmt::format("{}: size {} x {} overflows or is negative", what, a, b));
  }
  return result;
}

}  // namespace kronlab
