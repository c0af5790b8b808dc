#include "framework/kernels/kronecker.hpp"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "framework/kernels/dispatch.hpp"

namespace kronlab::kernels {
namespace {

/// out[i] (+)= value, in out's type.
template <class Out, class Real>
void put(Out& out, Real value, bool add) {
  out = static_cast<Out>(add ? static_cast<Real>(static_cast<compute_t<Out>>(out)) + value : value);
}

/// body(T of a, T of b) for equal types, or a bf16 source with an f32 target.
template <class Body>
void for_pair(ConstTensorView from, TensorView to, Body body) {
  if (from.dtype == DType::bf16 && to.dtype == DType::f32) return body(from.as<bfloat16>(), to.as<float>());
  for_activation_type(from.dtype, [&]<class T>(T) { body(from.as<T>(), to.as<T>()); });
}

}  // namespace

void contract_right(const KroneckerShape& s, ConstTensorView right, ConstTensorView x, TensorView z) {
  KRONLAB_EXPECTS(x.cols == s.left_cols * s.right_cols && z.rows == x.rows * s.right_rows && z.cols == s.num_terms * s.left_cols,
                  "contract [{}, {}] to [{}, {}]", x.rows, x.cols, z.rows, z.cols);
  const float* b = right.as<float>().data;
  for_activation_type(x.dtype, [&]<class T>(T) {
    using Real = compute_t<T>;
    const auto in = x.as<T>();
    const auto out = z.as<T>();
#pragma omp parallel
    {
      std::vector<Real> columns(static_cast<std::size_t>(x.cols));  // x[t] as [n2, n1], so that loops run over n1
      std::vector<Real> sum(static_cast<std::size_t>(s.left_cols));
#pragma omp for schedule(static)
      for (Index t = 0; t < x.rows; ++t) {
        for (Index j = 0; j < s.left_cols; ++j) {
          for (Index v = 0; v < s.right_cols; ++v) columns[static_cast<std::size_t>(v * s.left_cols + j)] = static_cast<Real>(in(t, j * s.right_cols + v));
        }
        for (Index u = 0; u < s.right_rows; ++u) {
          for (Index k = 0; k < s.num_terms; ++k) {
            std::fill(sum.begin(), sum.end(), Real{0});
            for (Index v = 0; v < s.right_cols; ++v) {
              const Real factor = b[(k * s.right_rows + u) * s.right_cols + v];
              const Real* column = &columns[static_cast<std::size_t>(v * s.left_cols)];
#pragma omp simd
              for (Index j = 0; j < s.left_cols; ++j) sum[static_cast<std::size_t>(j)] += factor * column[j];
            }
            T* target = &out(t * s.right_rows + u, k * s.left_cols);
            for (Index j = 0; j < s.left_cols; ++j) target[j] = static_cast<T>(sum[static_cast<std::size_t>(j)]);
          }
        }
      }
    }
  });
}

void expand_right(const KroneckerShape& s, ConstTensorView right, ConstTensorView z, TensorView x, bool add) {
  KRONLAB_EXPECTS(x.cols == s.left_cols * s.right_cols && z.rows == x.rows * s.right_rows && z.cols == s.num_terms * s.left_cols,
                  "expand [{}, {}] to [{}, {}]", z.rows, z.cols, x.rows, x.cols);
  const float* b = right.as<float>().data;
  for_pair(z, x, [&](auto in, auto out) {
    using Out = std::remove_reference_t<decltype(*out.data)>;
    using Real = compute_t<Out>;
#pragma omp parallel
    {
      std::vector<Real> columns(static_cast<std::size_t>(x.cols));
#pragma omp for schedule(static)
      for (Index t = 0; t < x.rows; ++t) {
        std::fill(columns.begin(), columns.end(), Real{0});
        for (Index u = 0; u < s.right_rows; ++u) {
          for (Index k = 0; k < s.num_terms; ++k) {
            const auto* source = &in(t * s.right_rows + u, k * s.left_cols);
            for (Index v = 0; v < s.right_cols; ++v) {
              const Real factor = b[(k * s.right_rows + u) * s.right_cols + v];
              Real* column = &columns[static_cast<std::size_t>(v * s.left_cols)];
#pragma omp simd
              for (Index j = 0; j < s.left_cols; ++j) column[j] += factor * static_cast<Real>(source[j]);
            }
          }
        }
        for (Index j = 0; j < s.left_cols; ++j) {
          for (Index v = 0; v < s.right_cols; ++v) put(out(t, j * s.right_cols + v), columns[static_cast<std::size_t>(v * s.left_cols + j)], add);
        }
      }
    }
  });
}

void interleave(Index inner, ConstTensorView w, TensorView y, bool add) {
  KRONLAB_EXPECTS(w.rows == y.rows * inner && y.cols == w.cols * inner, "interleave [{}, {}] by {} into [{}, {}]", w.rows, w.cols, inner, y.rows, y.cols);
  for_pair(w, y, [&](auto in, auto out) {
    using Real = compute_t<std::remove_reference_t<decltype(*out.data)>>;
#pragma omp parallel for schedule(static)
    for (Index t = 0; t < y.rows; ++t) {
      for (Index u = 0; u < inner; ++u) {
        const auto* source = &in(t * inner + u, 0);
        auto* target = &out(t, u);
        for (Index a = 0; a < w.cols; ++a) put(target[a * inner], static_cast<Real>(static_cast<compute_t<std::remove_cvref_t<decltype(*source)>>>(source[a])), add);
      }
    }
  });
}

void deinterleave(Index inner, ConstTensorView y, TensorView w) {
  KRONLAB_EXPECTS(w.rows == y.rows * inner && y.cols == w.cols * inner, "deinterleave [{}, {}] by {} into [{}, {}]", y.rows, y.cols, inner, w.rows, w.cols);
  for_pair(y, w, [&](auto in, auto out) {
    using Out = std::remove_reference_t<decltype(*out.data)>;
#pragma omp parallel for schedule(static)
    for (Index t = 0; t < y.rows; ++t) {
      for (Index u = 0; u < inner; ++u) {
        for (Index a = 0; a < w.cols; ++a) put(out(t * inner + u, a), static_cast<compute_t<Out>>(in(t, a * inner + u)), false);
      }
    }
  });
}

void permute_columns(std::span<const Index> order, Move move, ConstTensorView x, TensorView y, bool add) {
  KRONLAB_EXPECTS(x.rows == y.rows && x.cols == y.cols && static_cast<Index>(order.size()) == x.cols, "permute [{}, {}] by {} into [{}, {}]",
                  x.rows, x.cols, order.size(), y.rows, y.cols);
  for_pair(x, y, [&](auto in, auto out) {
    using Real = compute_t<std::remove_reference_t<decltype(*out.data)>>;
#pragma omp parallel for schedule(static)
    for (Index t = 0; t < x.rows; ++t) {
      const auto* source = in.data + t * in.stride;
      auto* target = out.data + t * out.stride;
      for (Index i = 0; i < x.cols; ++i) {
        const Index other = order[static_cast<std::size_t>(i)];
        if (move == Move::gather) {
          put(target[i], static_cast<Real>(source[other]), add);
        } else {
          put(target[other], static_cast<Real>(source[i]), add);
        }
      }
    }
  });
}

}  // namespace kronlab::kernels
