#include "framework/kernels/packed_codes.hpp"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "framework/kernels/dispatch.hpp"
#include "framework/kernels/packed_row.hpp"
#include "framework/kernels/row_loops.hpp"

namespace kronlab::kernels {
namespace {

/// scale (code - zero) of each group of a row of codes.
template <class Real>
void scale_groups(const PackedCodes& w, const Real* scales, const std::uint8_t* zeros, const float* codes, Real* out) {
  for (Index g = 0, first = 0; first < w.cols; ++g, first += w.group) {
    const Index last = std::min(first + w.group, w.cols);
    const Real scale = scales[g];
    const auto zero = static_cast<float>(zeros[g]);
    for (Index c = first; c < last; ++c) out[c] = static_cast<Real>(codes[c] - zero) * scale;
  }
}

void expect_rows(const PackedCodes& w, Index first_row, Index rows, Index cols) {
  KRONLAB_EXPECTS(first_row >= 0 && first_row + rows <= w.rows && cols == w.cols, "rows {} to {} of {} columns, packed are {} of {}",
                  first_row, first_row + rows, cols, w.rows, w.cols);
}

}  // namespace

Index packed_row_words(Index bits, Index cols) {
  Index words = 0;
  for_packing(bits, [&]<class Packing>(Packing) { words = Packing::num_chunks(cols) * Packing::chunk_words; });
  return words;
}

void pack_row(Index bits, const std::uint8_t* codes, Index cols, std::uint32_t* packed) {
  for_packing(bits, [&]<class Packing>(Packing) {
    std::fill_n(packed, packed_row_words(bits, cols), 0U);
    for (Index c = 0; c < cols; ++c) Packing::put(packed, c, codes[c]);
  });
}

void unpack_row(Index bits, const std::uint32_t* packed, Index cols, std::uint8_t* codes) {
  for_packing(bits, [&]<class Packing>(Packing) {
    for (Index c = 0; c < cols; ++c) codes[c] = Packing::at(packed, c);
  });
}

void dequantise_rows(const PackedCodes& w, Index first_row, TensorView out) {
  expect_rows(w, first_row, out.rows, out.cols);
  const Index row_words = packed_row_words(w.bits, w.cols), num_groups = w.num_groups();
  for_activation_type(out.dtype, [&]<class T>(T) {
    using Real = compute_t<T>;
    const auto target = out.as<T>();
    const Matrix<Real> scales = to_matrix<Real>(w.scales.block(first_row, 0, out.rows, num_groups));
    for_packing(w.bits, [&]<class Packing>(Packing) {
      const Index padded = Packing::num_chunks(w.cols) * Packing::chunk_cols;
#pragma omp parallel if (out.rows > 1)
      {
        std::vector<float> codes(static_cast<std::size_t>(padded));
        std::vector<Real> row(static_cast<std::size_t>(std::is_same_v<T, Real> ? 0 : w.cols));
#pragma omp for schedule(static)
        for (Index i = 0; i < out.rows; ++i) {
          unpack_floats<Packing>(w.codes + (first_row + i) * row_words, w.cols, codes.data());
          const auto* zeros = w.zeros + (first_row + i) * num_groups;
          if constexpr (std::is_same_v<T, Real>) {
            scale_groups(w, &scales(i, 0), zeros, codes.data(), &target(i, 0));
          } else {
            scale_groups(w, &scales(i, 0), zeros, codes.data(), row.data());
            narrow(row.data(), w.cols, &target(i, 0));
          }
        }
      }
    });
  });
}

void add_scale_gradient(const PackedCodes& w, Index first_row, ConstTensorView dense, TensorView d_scales) {
  expect_rows(w, first_row, dense.rows, dense.cols);
  KRONLAB_EXPECTS(d_scales.rows == w.rows && d_scales.cols == w.num_groups(), "gradient [{}, {}] of scales [{}, {}]", d_scales.rows,
                  d_scales.cols, w.rows, w.num_groups());
  const Index row_words = packed_row_words(w.bits, w.cols);
  for_real_type(dense.dtype, [&]<class Dense>(Dense) {
    for_real_type(d_scales.dtype, [&]<class Real>(Real) {
      const auto gradient = dense.as<Dense>();
      const auto sums = d_scales.as<Real>();
#pragma omp parallel
      {
        std::vector<std::uint8_t> codes(static_cast<std::size_t>(w.cols));
#pragma omp for schedule(static)
        for (Index i = 0; i < dense.rows; ++i) {
          const Index row = first_row + i;
          unpack_row(w.bits, w.codes + row * row_words, w.cols, codes.data());
          for (Index g = 0, first = 0; first < w.cols; ++g, first += w.group) {
            const int zero = w.zeros[row * w.num_groups() + g];
            double sum = 0;
            for (Index c = first; c < std::min(first + w.group, w.cols); ++c)
              sum += static_cast<double>(gradient(i, c)) * (codes[static_cast<std::size_t>(c)] - zero);
            sums(row, g) = static_cast<Real>(static_cast<double>(sums(row, g)) + sum);
          }
        }
      }
    });
  });
}

}  // namespace kronlab::kernels
