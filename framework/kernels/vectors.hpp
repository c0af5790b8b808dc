#pragma once

#include <type_traits>

#include "framework/base/types.hpp"

namespace kronlab::kernels {

#ifdef __AVX512F__
inline constexpr int vector_bytes = 64;
#else
inline constexpr int vector_bytes = 32;
#endif

/// A register of floats or doubles, in memory at any address.
template <class Real>
struct Lanes {
  static constexpr Index count = vector_bytes / static_cast<Index>(sizeof(Real));
  typedef Real type __attribute__((vector_size(vector_bytes), aligned(sizeof(Real)), may_alias));
};
template <class Real>
inline constexpr Index lanes = Lanes<Real>::count;

/// The next `lanes` values, widened to Real.
template <class Real, class T>
inline typename Lanes<Real>::type load(const T* values) {
  if constexpr (std::is_same_v<T, Real>) {
    return *reinterpret_cast<const typename Lanes<Real>::type*>(values);
  } else {
    Real wide[lanes<Real>];
    for (Index j = 0; j < lanes<Real>; ++j) wide[j] = static_cast<Real>(values[j]);
    return load<Real>(wide);
  }
}

}  // namespace kronlab::kernels
