#pragma once

#include <limits>
#include <type_traits>

#include "framework/tensor/tensor_source.hpp"

namespace kronlab::storage {

/// Magnitudes from here on are NaN or infinite in memory: where the type is narrower than the file's, finite numbers of
/// the file too. `std::abs(x) < finite_limit<T>(dtype)` is false for NaN.
template <class T>
T finite_limit(DType dtype) {
  switch (dtype) {
    case DType::f16:
      return T(65520.0);  // halfway from the largest number to the next power of two
    case DType::bf16:
      return T(0x1.ffp127);  // likewise
    case DType::f32:
      if constexpr (std::is_same_v<T, double>) return 0x1.ffffffp127;  // likewise
      break;
    default:
      break;
  }
  return std::numeric_limits<T>::infinity();
}

/// @throws DataError if `to` has not the shape of the stored tensor, seen as a matrix; ContractError for an integer
/// type
inline void expect_fits(const std::string& name, const std::vector<Index>& shape, const TensorView& to) {
  KRONLAB_EXPECTS(to.dtype != DType::i32, "tensor '{}' cannot be read as {}", name, to_string(to.dtype));
  const Index cols = shape.empty() ? 1 : shape.back();
  Index rows = cols == 0 ? 0 : 1;
  for (std::size_t i = 0; cols > 0 && i + 1 < shape.size(); ++i) rows = checked_product(rows, shape[i], name.c_str());
  if (rows == to.rows && cols == to.cols) return;
  throw DataError(
      fmt::format("tensor '{}' is {} x {} in the file, {} x {} are expected", name, rows, cols, to.rows, to.cols));
}

}  // namespace kronlab::storage
