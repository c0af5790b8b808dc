#include <omp.h>

#include <boost/test/unit_test.hpp>
#include <utility>

#include "framework/kernels/kronecker.hpp"
#include "tests/support/kernel_case.hpp"

namespace kronlab::kernels {
namespace {

using testing::activation_types;
using testing::bound;
using testing::error_of;
using testing::random_matrix;
using testing::Strided;

const KroneckerShape shapes[] = {{1, 1, 1, 1, 1},  {1, 3, 5, 2, 4},  {2, 4, 17, 2, 2},
                                 {3, 2, 33, 7, 1}, {4, 8, 16, 4, 3}, {2, 3, 5, 3, 11}};
const RandomStream seed(21);

struct Types {
  DType from, to;
};
const Types pairs[] = {
    {DType::f32, DType::f32}, {DType::f64, DType::f64}, {DType::bf16, DType::bf16}, {DType::bf16, DType::f32}};

/// Element (u, s) of the right factor of term k.
double right_at(const KroneckerShape& s, const Matrix<double>& right, Index k, Index u, Index v) {
  return right(k, u * s.right_cols + v);
}

Matrix<double> contracted(const KroneckerShape& s, const Matrix<double>& right, const Matrix<double>& x) {
  Matrix<double> z(x.rows() * s.right_rows, s.num_terms * s.left_cols);
  for (Index t = 0; t < x.rows(); ++t) {
    for (Index u = 0; u < s.right_rows; ++u) {
      for (Index k = 0; k < s.num_terms; ++k) {
        for (Index j = 0; j < s.left_cols; ++j) {
          for (Index v = 0; v < s.right_cols; ++v)
            z(t * s.right_rows + u, k * s.left_cols + j) += right_at(s, right, k, u, v) * x(t, j * s.right_cols + v);
        }
      }
    }
  }
  return z;
}

Matrix<double> expanded(const KroneckerShape& s, const Matrix<double>& right, const Matrix<double>& z,
                        Matrix<double> x) {
  for (Index t = 0; t < x.rows(); ++t) {
    for (Index j = 0; j < s.left_cols; ++j) {
      for (Index v = 0; v < s.right_cols; ++v) {
        for (Index k = 0; k < s.num_terms; ++k) {
          for (Index u = 0; u < s.right_rows; ++u)
            x(t, j * s.right_cols + v) += right_at(s, right, k, u, v) * z(t * s.right_rows + u, k * s.left_cols + j);
        }
      }
    }
  }
  return x;
}

Matrix<double> plus_if(bool add, const Matrix<double>& start, const Matrix<double>& more) {
  Matrix<double> result(more.rows(), more.cols());
  for (Index i = 0; i < more.size(); ++i) result.data()[i] = more.data()[i] + (add ? start.data()[i] : 0.0);
  return result;
}

BOOST_AUTO_TEST_SUITE(kronecker)

BOOST_AUTO_TEST_CASE(right_factors_are_contracted_as_by_the_slow_reference) {
  for (const auto& s : shapes) {
    for (const DType type : activation_types) {
      Strided x(type, random_matrix(5, s.left_cols * s.right_cols, seed.child("x")));
      Tensor right = testing::random_tensor({s.num_terms, s.right_rows * s.right_cols}, seed.child("right"));
      Strided z(type, 5 * s.right_rows, s.num_terms * s.left_cols);
      contract_right(s, right.view(), x.view(), z.view());
      BOOST_TEST(error_of(z.values(), contracted(s, to_matrix<double>(right.view()), x.values())) <
                 bound(type, s.right_cols));
      BOOST_TEST(z.is_untouched_outside());
    }
  }
}

BOOST_AUTO_TEST_CASE(right_factors_are_expanded_as_by_the_slow_reference) {
  for (const auto& s : shapes) {
    for (const auto [from, to] : pairs) {
      for (const bool add : {false, true}) {
        Strided z(from, random_matrix(5 * s.right_rows, s.num_terms * s.left_cols, seed.child("z")));
        Tensor right = testing::random_tensor({s.num_terms, s.right_rows * s.right_cols}, seed.child("right"));
        Strided x(to, random_matrix(5, s.left_cols * s.right_cols, seed.child("x")));
        const auto start = add ? x.values() : Matrix<double>(5, s.left_cols * s.right_cols);
        expand_right(s, right.view(), z.view(), x.view(), add);
        BOOST_TEST(error_of(x.values(), expanded(s, to_matrix<double>(right.view()), z.values(), start)) <
                   bound(to, s.num_terms * s.right_rows + 1));
        BOOST_TEST(x.is_untouched_outside());
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(gradients_of_right_factors_are_those_of_the_slow_reference_for_any_number_of_threads) {
  const int threads = omp_get_max_threads();
  for (const auto& s : shapes) {
    for (const Index n : {1, 64, 130}) {
      for (const DType type : activation_types) {
        const DType gradient_type = type == DType::f64 ? DType::f64 : DType::f32;
        Strided x(type, random_matrix(n, s.left_cols * s.right_cols, seed.child("x")));
        Strided dz(type, random_matrix(n * s.right_rows, s.num_terms * s.left_cols, seed.child("z")));
        const auto start = random_matrix(s.num_terms, s.right_rows * s.right_cols, seed.child("right"));
        Strided found(gradient_type, start);
        auto expected = found.values();
        const auto from = x.values(), to = dz.values();
        for (Index t = 0; t < n; ++t) {
          for (Index u = 0; u < s.right_rows; ++u) {
            for (Index k = 0; k < s.num_terms; ++k) {
              for (Index j = 0; j < s.left_cols; ++j) {
                for (Index v = 0; v < s.right_cols; ++v)
                  expected(k, u * s.right_cols + v) +=
                      to(t * s.right_rows + u, k * s.left_cols + j) * from(t, j * s.right_cols + v);
              }
            }
          }
        }
        contract_right_gradient(s, x.view(), dz.view(), found.view());
        BOOST_TEST(error_of(found.values(), expected) < bound(gradient_type, n * s.left_cols + 1));
        BOOST_TEST(found.is_untouched_outside());
        omp_set_num_threads(3);
        Strided again(gradient_type, start);
        contract_right_gradient(s, x.view(), dz.view(), again.view());
        omp_set_num_threads(threads);
        BOOST_TEST(error_of(again.values(), found.values()) == 0.0);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(right_factors_in_double_count_in_full_beside_double_activations) {
  const KroneckerShape s{2, 3, 17, 2, 4};
  const auto right = random_matrix(2, 8, seed.child("right")), x = random_matrix(5, 68, seed.child("x"));
  Matrix<double> z(10, 34), back(5, 68);
  contract_right(s, right.view(), x.view(), z.view());
  BOOST_TEST(error_of(z, contracted(s, right, x)) < bound(DType::f64, 4));
  expand_right(s, right.view(), std::as_const(z).view(), back.view(), false);
  BOOST_TEST(error_of(back, expanded(s, right, z, Matrix<double>(5, 68))) < bound(DType::f64, 4));
}

BOOST_AUTO_TEST_CASE(interleaving_moves_every_element_to_its_place_and_back) {
  for (const Index inner : {1, 2, 4, 5}) {
    for (const auto [from, to] : pairs) {
      Strided w(from, random_matrix(4 * inner, 7, seed.child("w")));
      const auto source = w.values();
      Matrix<double> moved(4, 7 * inner);
      for (Index t = 0; t < 4; ++t) {
        for (Index u = 0; u < inner; ++u) {
          for (Index a = 0; a < 7; ++a) moved(t, a * inner + u) = source(t * inner + u, a);
        }
      }
      for (const bool add : {false, true}) {
        Strided y(to, random_matrix(4, 7 * inner, seed.child("y")));
        const auto expected = plus_if(add, y.values(), moved);
        interleave(inner, w.view(), y.view(), add);
        BOOST_TEST(error_of(y.values(), expected) < (add ? bound(to, 1) : 1e-300));
        BOOST_TEST(y.is_untouched_outside());
      }
      Strided y(from, moved), back(to, 4 * inner, 7);
      deinterleave(inner, y.view(), back.view());
      BOOST_TEST(error_of(back.values(), source) == 0.0);
      BOOST_TEST(back.is_untouched_outside());
    }
  }
}

BOOST_AUTO_TEST_CASE(permuted_columns_are_gathered_scattered_and_restored) {
  for (const Index width : {1, 2, 17, 64}) {
    const auto order = RandomStream(4).permutation(width);
    for (const auto [from, to] : pairs) {
      Strided x(from, random_matrix(3, width, seed.child("x")));
      const auto source = x.values();
      Matrix<double> gathered(3, width), scattered(3, width);
      for (Index t = 0; t < 3; ++t) {
        for (Index i = 0; i < width; ++i) {
          const Index other = order[static_cast<std::size_t>(i)];
          gathered(t, i) = source(t, other);
          scattered(t, other) = source(t, i);
        }
      }
      for (const bool add : {false, true}) {
        Strided y(to, random_matrix(3, width, seed.child("y")));
        const auto start = y.values();
        permute_columns(order, Move::gather, x.view(), y.view(), add);
        BOOST_TEST(error_of(y.values(), plus_if(add, start, gathered)) < (add ? bound(to, 1) : 1e-300));
        y = Strided(to, start);
        permute_columns(order, Move::scatter, x.view(), y.view(), add);
        BOOST_TEST(error_of(y.values(), plus_if(add, start, scattered)) < (add ? bound(to, 1) : 1e-300));
        BOOST_TEST(y.is_untouched_outside());
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(shapes_that_do_not_fit_are_refused) {
  const KroneckerShape s{2, 3, 4, 2, 3};
  Tensor right(DType::f32, {2, 6}), x(DType::f32, {5, 12}), z(DType::f32, {10, 8}), wrong(DType::f32, {5, 11});
  BOOST_CHECK_NO_THROW(contract_right(s, right.view(), x.view(), z.view()));
  BOOST_CHECK_THROW(contract_right(s, right.view(), wrong.view(), z.view()), ContractError);
  BOOST_CHECK_THROW(contract_right(s, right.view(), x.view(), x.view()), ContractError);
  BOOST_CHECK_THROW(expand_right(s, right.view(), z.view(), wrong.view(), false), ContractError);
  BOOST_CHECK_THROW(contract_right(s, x.view(), x.view(), z.view()), ContractError);
  BOOST_CHECK_THROW(contract_right_gradient(s, x.view(), z.view(), x.view()), ContractError);
  BOOST_CHECK_THROW(contract_right_gradient(s, x.view(), x.view(), right.view()), ContractError);
  BOOST_CHECK_THROW(interleave(3, z.view(), x.view(), false), ContractError);
  BOOST_CHECK_THROW(deinterleave(3, x.view(), z.view()), ContractError);
  const std::vector<Index> order(11);
  BOOST_CHECK_THROW(permute_columns(order, Move::gather, x.view(), x.view(), false), ContractError);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace kronlab::kernels
