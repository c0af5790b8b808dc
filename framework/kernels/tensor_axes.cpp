#include "framework/kernels/tensor_axes.hpp"

#include <algorithm>
#include <type_traits>

#include "framework/kernels/dispatch.hpp"

namespace kronlab::kernels {
namespace {

/// One element, added in the type that is computed in.
template <class T>
void put(T& out, T value, bool add) {
  using Real = compute_t<T>;
  out = add ? static_cast<T>(static_cast<Real>(out) + static_cast<Real>(value)) : value;
}

/// body of a run that the compiler knows, so that copying it is some moves. 0: any run.
template <class Body>
void for_run(Index run, Body body) {
  switch (run) {
    case 2: return body(std::integral_constant<Index, 2>());
    case 4: return body(std::integral_constant<Index, 4>());
    case 8: return body(std::integral_constant<Index, 8>());
    case 12: return body(std::integral_constant<Index, 12>());
    case 16: return body(std::integral_constant<Index, 16>());
    case 32: return body(std::integral_constant<Index, 32>());
    default: return body(std::integral_constant<Index, 0>());
  }
}

template <class T>
void swap_row(const AxisExtents& e, const T* in, T* out, bool add) {
  if (e.run == 1) {
    constexpr Index tile = 16;  // of a transposition: both sides stay in the first cache
    for (Index first = 0; first < e.outer; first += tile) {
      const Index last = std::min(e.outer, first + tile);
      for (Index b = 0; b < e.inner; ++b) {
        for (Index a = first; a < last; ++a) put(out[b * e.outer + a], in[a * e.inner + b], add);
      }
    }
    return;
  }
  for_run(e.run, [&](auto known) {
    const Index run = known.value > 0 ? known.value : e.run;
    for (Index b = 0; b < e.inner; ++b) {
      for (Index a = 0; a < e.outer; ++a) {
        const T* from = in + (a * e.inner + b) * run;
        T* to = out + (b * e.outer + a) * run;
        if (add) {
          for (Index c = 0; c < run; ++c) put(to[c], from[c], true);
        } else {
          std::copy_n(from, run, to);
        }
      }
    }
  });
}

}  // namespace

void swap_axes(const AxisExtents& e, ConstTensorView x, TensorView y, bool add) {
  KRONLAB_EXPECTS(x.rows == y.rows && x.cols == e.size() && y.cols == e.size(), "axes {} x {} x {} swapped of [{}, {}] into [{}, {}]",
                  e.outer, e.inner, e.run, x.rows, x.cols, y.rows, y.cols);
  for_activation_type(x.dtype, [&]<class T>(T) {
    const auto in = x.as<T>();
    const auto out = y.as<T>();
#pragma omp parallel for schedule(static) if (x.rows > 1)
    for (Index t = 0; t < x.rows; ++t) swap_row(e, &in(t, 0), &out(t, 0), add);
  });
}

}  // namespace kronlab::kernels
