#include "framework/kernels/kronecker.hpp"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "framework/kernels/dispatch.hpp"

namespace kronlab::kernels {
namespace {

/// The value in another type; bit-equal in its own.
template <class Out, class In>
Out as(In value) {
  if constexpr (std::is_same_v<In, Out>) {
    return value;
  } else {
    return static_cast<Out>(static_cast<compute_t<In>>(value));
  }
}

/// out (+)= value, in out's type.
template <class Out, class In>
void put(Out& out, In value, bool add) {
  using Real = compute_t<Out>;
  out = add ? static_cast<Out>(static_cast<Real>(out) + as<Real>(value)) : as<Out>(value);
}

/// body(T of a, T of b) for equal types, or a bf16 source with an f32 target.
template <class Body>
void for_pair(ConstTensorView from, TensorView to, Body body) {
  if (from.dtype == DType::bf16 && to.dtype == DType::f32) return body(from.as<bfloat16>(), to.as<float>());
  for_activation_type(from.dtype, [&]<class T>(T) { body(from.as<T>(), to.as<T>()); });
}

/// body of an inner extent that the compiler knows: loops over short vectors become shuffles. 0: any extent.
template <class Body>
void for_inner(Index inner, Body body) {
  switch (inner) {
    case 1:
      return body(std::integral_constant<Index, 1>());
    case 2:
      return body(std::integral_constant<Index, 2>());
    case 4:
      return body(std::integral_constant<Index, 4>());
    default:
      return body(std::integral_constant<Index, 0>());
  }
}

/// out[u, a] = in[(a, u)]: one row of [n inner] as inner rows of [n], `stride` apart.
template <Index Inner, class In, class Out>
void split_row(const In* in, Index n, Index inner, Out* out, Index stride) {
  if constexpr (Inner > 0) {
#pragma omp simd
    for (Index a = 0; a < n; ++a) {
      for (Index u = 0; u < Inner; ++u) out[u * stride + a] = as<Out>(in[a * Inner + u]);
    }
  } else {
    for (Index a = 0; a < n; ++a) {
      for (Index u = 0; u < inner; ++u) out[u * stride + a] = as<Out>(in[a * inner + u]);
    }
  }
}

/// out[(a, u)] (+)= in[u, a]: the inverse.
template <Index Inner, class In, class Out>
void join_row(const In* in, Index stride, Index n, Index inner, Out* out, bool add) {
  const auto join = [&](auto adds) {
    if constexpr (Inner > 0) {
#pragma omp simd
      for (Index a = 0; a < n; ++a) {
        for (Index u = 0; u < Inner; ++u) put(out[a * Inner + u], in[u * stride + a], adds);
      }
    } else {
      for (Index u = 0; u < inner; ++u) {
        for (Index a = 0; a < n; ++a) put(out[a * inner + u], in[u * stride + a], adds);
      }
    }
  };
  add ? join(std::true_type()) : join(std::false_type());
}

/// z[u, (k, j)] of one row of x, split into columns: [n2, n1].
template <Index Cols, class Real, class T>
void contract_row(const KroneckerShape& s, const Real* right, const Real* columns, T* out, Index stride, Real* sum,
                  bool add) {
  const Index n1 = s.left_cols;
  for (Index u = 0; u < s.right_rows; ++u) {
    for (Index k = 0; k < s.num_terms; ++k) {
      const Real* factors = right + (k * s.right_rows + u) * s.right_cols;
      T* target = out + u * stride + k * n1;
      if constexpr (Cols > 0) {
        Real f[Cols];
        std::copy_n(factors, Cols, f);
#pragma omp simd
        for (Index j = 0; j < n1; ++j) {
          Real value = 0;
          for (Index v = 0; v < Cols; ++v) value += f[v] * columns[v * n1 + j];
          sum[j] = value;
        }
      } else {
        std::fill_n(sum, n1, Real{0});
        for (Index v = 0; v < s.right_cols; ++v) {
          const Real factor = factors[v];
          const Real* column = columns + v * n1;
#pragma omp simd
          for (Index j = 0; j < n1; ++j) sum[j] += factor * column[j];
        }
      }
      if (add) {
        for (Index j = 0; j < n1; ++j) put(target[j], sum[j], true);
      } else {
        for (Index j = 0; j < n1; ++j) target[j] = static_cast<T>(sum[j]);
      }
    }
  }
}

/// columns[v, j] of one row of x from its rows of z.
template <Index Cols, class Real, class T>
void expand_row(const KroneckerShape& s, const Real* right, const T* in, Index stride, Real* columns) {
  const Index n1 = s.left_cols;
  std::fill_n(columns, n1 * s.right_cols, Real{0});
  for (Index u = 0; u < s.right_rows; ++u) {
    for (Index k = 0; k < s.num_terms; ++k) {
      const Real* factors = right + (k * s.right_rows + u) * s.right_cols;
      const T* source = in + u * stride + k * n1;
      if constexpr (Cols > 0) {
        Real f[Cols];
        std::copy_n(factors, Cols, f);
#pragma omp simd
        for (Index j = 0; j < n1; ++j) {
          const auto value = static_cast<Real>(source[j]);
          for (Index v = 0; v < Cols; ++v) columns[v * n1 + j] += f[v] * value;
        }
      } else {
        for (Index v = 0; v < s.right_cols; ++v) {
          const Real factor = factors[v];
          Real* column = columns + v * n1;
#pragma omp simd
          for (Index j = 0; j < n1; ++j) column[j] += factor * static_cast<Real>(source[j]);
        }
      }
    }
  }
}

/// sums[v] += Σ_j dz[j] columns[v, j].
template <Index Cols, class Real, class T>
void add_products(const T* dz, const Real* columns, Index n1, Index n2, Real* sums) {
  if constexpr (Cols > 0) {
    const Real *c0 = columns, *c1 = c0 + n1, *c2 = c1 + n1, *c3 = c2 + n1;
    Real s0 = 0, s1 = 0, s2 = 0, s3 = 0;
#pragma omp simd reduction(+ : s0, s1, s2, s3)
    for (Index j = 0; j < n1; ++j) {
      const auto value = static_cast<Real>(dz[j]);
      s0 += value * c0[j];
      if constexpr (Cols > 1) s1 += value * c1[j];
      if constexpr (Cols > 2) s2 += value * c2[j], s3 += value * c3[j];
    }
    const Real all[] = {s0, s1, s2, s3};
    for (Index v = 0; v < Cols; ++v) sums[v] += all[v];
  } else {
    for (Index v = 0; v < n2; ++v) {
      const Real* column = columns + v * n1;
      Real sum = 0;
#pragma omp simd reduction(+ : sum)
      for (Index j = 0; j < n1; ++j) sum += static_cast<Real>(dz[j]) * column[j];
      sums[v] += sum;
    }
  }
}

void expect_shapes(const char* what, const KroneckerShape& s, ConstTensorView right, ConstTensorView x,
                   ConstTensorView z) {
  KRONLAB_EXPECTS(
      x.cols == s.left_cols * s.right_cols && z.rows == x.rows * s.right_rows && z.cols == s.num_terms * s.left_cols &&
          right.rows == s.num_terms && right.cols == s.right_rows * s.right_cols,
      "{}: right [{}, {}], x [{}, {}], z [{}, {}]", what, right.rows, right.cols, x.rows, x.cols, z.rows, z.cols);
}

template <class Real>
std::vector<Real> buffer(Index size) {
  return std::vector<Real>(static_cast<std::size_t>(size));
}

}  // namespace

void contract_right(const KroneckerShape& s, ConstTensorView right, ConstTensorView x, TensorView z, bool add) {
  expect_shapes("contract", s, right, x, z);
  for_activation_type(x.dtype, [&]<class T>(T) {
    using Real = compute_t<T>;
    const Matrix<Real> b = to_matrix<Real>(right);
    const auto in = x.as<T>();
    const auto out = z.as<T>();
    for_inner(s.right_cols, [&](auto inner) {
#pragma omp parallel
      {
        auto columns = buffer<Real>(x.cols),
             sum = buffer<Real>(s.left_cols);  // x[t] as [n2, n1], so that loops run over n1
#pragma omp for schedule(static)
        for (Index t = 0; t < x.rows; ++t) {
          split_row<inner.value>(&in(t, 0), s.left_cols, s.right_cols, columns.data(), s.left_cols);
          contract_row<inner.value>(s, b.data(), columns.data(), &out(t * s.right_rows, 0), out.stride, sum.data(),
                                    add);
        }
      }
    });
  });
}

void expand_right(const KroneckerShape& s, ConstTensorView right, ConstTensorView z, TensorView x, bool add) {
  expect_shapes("expand", s, right, x, z);
  for_pair(z, x, [&](auto in, auto out) {
    using Real = compute_t<std::remove_reference_t<decltype(*out.data)>>;
    const Matrix<Real> b = to_matrix<Real>(right);
    for_inner(s.right_cols, [&](auto inner) {
#pragma omp parallel
      {
        auto columns = buffer<Real>(x.cols);
#pragma omp for schedule(static)
        for (Index t = 0; t < x.rows; ++t) {
          expand_row<inner.value>(s, b.data(), &in(t * s.right_rows, 0), in.stride, columns.data());
          join_row<inner.value>(columns.data(), s.left_cols, s.left_cols, s.right_cols, &out(t, 0), add);
        }
      }
    });
  });
}

void contract_right_gradient(const KroneckerShape& s, ConstTensorView x, ConstTensorView dz, TensorView d_right) {
  expect_shapes("gradient of contract", s, d_right, x, dz);
  KRONLAB_EXPECTS(d_right.dtype == DType::f32 || d_right.dtype == DType::f64, "a gradient of type {}",
                  to_string(d_right.dtype));
  constexpr Index strip = 64,
                  num_strips = 64;  // rows in a strip, strips at a time; fixed, whatever the number of threads
  const Index size = s.num_terms * s.right_rows * s.right_cols;
  auto total = buffer<double>(size);
  for_activation_type(x.dtype, [&]<class T>(T) {
    using Real = compute_t<T>;
    const auto in = x.as<T>(), d_out = dz.as<T>();
    for (Index begin = 0; begin < x.rows; begin += strip * num_strips) {
      const Index end = std::min(x.rows, begin + strip * num_strips);
      Matrix<Real> sums((end - begin + strip - 1) / strip, size);
      for_inner(s.right_cols, [&](auto inner) {
#pragma omp parallel
        {
          auto columns = buffer<Real>(x.cols);
#pragma omp for schedule(static)
          for (Index i = 0; i < sums.rows(); ++i) {
            for (Index t = begin + i * strip; t < std::min(end, begin + (i + 1) * strip); ++t) {
              split_row<inner.value>(&in(t, 0), s.left_cols, s.right_cols, columns.data(), s.left_cols);
              for (Index u = 0; u < s.right_rows; ++u) {
                for (Index k = 0; k < s.num_terms; ++k) {
                  add_products<inner.value>(&d_out(t * s.right_rows + u, k * s.left_cols), columns.data(), s.left_cols,
                                            s.right_cols, &sums(i, (k * s.right_rows + u) * s.right_cols));
                }
              }
            }
          }
        }
      });
      for (Index i = 0; i < sums.rows(); ++i) {
        for (Index e = 0; e < size; ++e) total[static_cast<std::size_t>(e)] += static_cast<double>(sums(i, e));
      }
    }
  });
  const auto add_to = [&](auto out) {
    for (Index k = 0; k < out.rows; ++k) {
      for (Index e = 0; e < out.cols; ++e) put(out(k, e), total[static_cast<std::size_t>(k * out.cols + e)], true);
    }
  };
  d_right.dtype == DType::f64 ? add_to(d_right.as<double>()) : add_to(d_right.as<float>());
}

void interleave(Index inner, ConstTensorView w, TensorView y, bool add) {
  KRONLAB_EXPECTS(w.rows == y.rows * inner && y.cols == w.cols * inner, "interleave [{}, {}] by {} into [{}, {}]",
                  w.rows, w.cols, inner, y.rows, y.cols);
  for_pair(w, y, [&](auto in, auto out) {
    for_inner(inner, [&](auto known) {
#pragma omp parallel for schedule(static)
      for (Index t = 0; t < y.rows; ++t)
        join_row<known.value>(&in(t * inner, 0), in.stride, w.cols, inner, &out(t, 0), add);
    });
  });
}

void deinterleave(Index inner, ConstTensorView y, TensorView w) {
  KRONLAB_EXPECTS(w.rows == y.rows * inner && y.cols == w.cols * inner, "deinterleave [{}, {}] by {} into [{}, {}]",
                  y.rows, y.cols, inner, w.rows, w.cols);
  for_pair(y, w, [&](auto in, auto out) {
    for_inner(inner, [&](auto known) {
#pragma omp parallel for schedule(static)
      for (Index t = 0; t < y.rows; ++t)
        split_row<known.value>(&in(t, 0), w.cols, inner, &out(t * inner, 0), out.stride);
    });
  });
}

void permute_columns(std::span<const Index> order, Move move, ConstTensorView x, TensorView y, bool add) {
  KRONLAB_EXPECTS(x.rows == y.rows && x.cols == y.cols && static_cast<Index>(order.size()) == x.cols,
                  "permute [{}, {}] by {} into [{}, {}]", x.rows, x.cols, order.size(), y.rows, y.cols);
  for_pair(x, y, [&](auto in, auto out) {
#pragma omp parallel for schedule(static)
    for (Index t = 0; t < x.rows; ++t) {
      const auto* source = in.data + t * in.stride;
      auto* target = out.data + t * out.stride;
      for (Index i = 0; i < x.cols; ++i) {
        const Index other = order[static_cast<std::size_t>(i)];
        if (move == Move::gather) {
          put(target[i], source[other], add);
        } else {
          put(target[other], source[i], add);
        }
      }
    }
  });
}

}  // namespace kronlab::kernels
