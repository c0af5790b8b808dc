#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <utility>

#include "framework/linalg/distributed_matrix.hpp"
#include "framework/linalg/gemm.hpp"
#include "tests/support/random_matrix.hpp"

using namespace kronlab;
using namespace kronlab::linalg;
using kronlab::testing::random_matrix;
using kronlab::testing::relative_difference;

namespace {

ConstMatrixView<double> own_rows(const comm::Communicator& world, const Matrix<double>& a) {
  const auto range = comm::block_range(a.rows(), world.rank(), world.size());
  return a.view().block(range.begin, 0, range.size(), a.cols());
}

Matrix<double> approximation(const Svd& svd, Index k) {
  Matrix<double> scaled(svd.u.rows(), k), product(svd.u.rows(), svd.vt.cols());
  for (Index i = 0; i < scaled.rows(); ++i) {
    for (Index j = 0; j < k; ++j) scaled(i, j) = svd.u(i, j) * svd.singular_values[static_cast<std::size_t>(j)];
  }
  gemm(Transpose::no, std::as_const(scaled).view(), Transpose::no, svd.vt.view(), 0.0, product.view());
  return product;
}

constexpr double eps = std::numeric_limits<double>::epsilon();

}  // namespace

BOOST_AUTO_TEST_SUITE(distributed_matrix)

BOOST_AUTO_TEST_CASE(the_grid_is_near_square_and_leaves_out_fewer_ranks_than_it_has_rows) {
  const comm::Communicator world(MPI_COMM_WORLD);
  const BlacsGrid grid(world);
  const int p = grid.rows(), q = grid.cols();
  BOOST_TEST((p >= 1 && p <= q && p * q <= world.size() && world.size() - p * q < p));
  BOOST_TEST(world.sum(Index{grid.has_this_rank()}) == p * q);
}

BOOST_AUTO_TEST_CASE(rows_that_are_dealt_come_back_as_they_were) {
  const comm::Communicator world(MPI_COMM_WORLD);
  for (const auto& [m, n] :
       {std::pair<Index, Index>{1, 1}, {2, 3}, {1, 200}, {200, 1}, {64, 64}, {65, 130}, {131, 63}}) {
    const auto a = random_matrix(m, n, RandomStream(1));
    const auto dealt = DistributedMatrix::from_rows(world, own_rows(world, a), m, n);
    BOOST_TEST(relative_difference(dealt.gather().view(), a.view()) == 0.0);
    if (n > 2) BOOST_TEST(relative_difference(dealt.gather(1, n - 2).view(), a.view().block(0, 1, m, n - 2)) == 0.0);
  }
}

BOOST_AUTO_TEST_CASE(blocks_become_rows) {
  const comm::Communicator world(MPI_COMM_WORLD);
  const auto a = random_matrix(12, 20, RandomStream(1));
  const auto dealt = DistributedMatrix::from_rows(world, own_rows(world, a), 12, 20, {3, 5});
  const auto r = dealt.gather();
  BOOST_REQUIRE((r.rows() == 16 && r.cols() == 15));
  for (Index i = 0; i < 12; ++i) {
    for (Index j = 0; j < 20; ++j) BOOST_TEST(r(i / 3 * 4 + j / 5, i % 3 * 5 + j % 5) == a(i, j));
  }
}

BOOST_AUTO_TEST_CASE(triples_are_those_of_lapack_for_every_shape) {
  const comm::Communicator world(MPI_COMM_WORLD);
  for (const auto& [m, n] : {std::pair<Index, Index>{1, 1},
                             {1, 9},
                             {9, 1},
                             {1, 150},
                             {7, 5},
                             {64, 64},
                             {100, 70},
                             {70, 100},
                             {300, 65},
                             {131, 130}}) {
    const auto a = random_matrix(m, n, RandomStream(3));
    const auto dealt = DistributedMatrix::from_rows(world, own_rows(world, a), m, n);
    const Index p = std::min(m, n);
    for (const Index k : {Index{1}, (p + 1) / 2, p}) {
      const auto expected = truncated_svd(a.view(), k);
      const auto& s = expected.singular_values;
      for (const auto method : {SvdMethod::gram, SvdMethod::direct}) {
        if (method == SvdMethod::direct && k != 1) continue;  // it finds all whatever is wanted, slowly
        BOOST_TEST_CONTEXT(m << " x " << n << ", k = " << k << ", method " << static_cast<int>(method)) {
          const auto found = truncated_svd(dealt, k, method);
          const double size = static_cast<double>(std::max(m, n)), error = 10 * size * eps * s[0] * s[0];
          BOOST_REQUIRE((found.singular_values.size() == s.size() && found.u.cols() == k && found.vt.rows() == k));
          for (std::size_t i = 0; i < s.size(); ++i) {
            BOOST_TEST(std::abs(found.singular_values[i] * found.singular_values[i] - s[i] * s[i]) <= error);
          }
          // A subspace moves by the error of the eigenproblem over the gap at the cut.
          const double cut = k < p ? s[static_cast<std::size_t>(k)] : 0.0, last = s[static_cast<std::size_t>(k - 1)];
          BOOST_TEST(relative_difference(approximation(found, k).view(), approximation(expected, k).view()) <=
                     error / (last * last - cut * cut));
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_zero_matrix_and_one_of_small_rank_are_no_trouble) {
  const comm::Communicator world(MPI_COMM_WORLD);
  const Matrix<double> nothing(80, 70);
  const auto found = truncated_svd(DistributedMatrix::from_rows(world, own_rows(world, nothing), 80, 70), 3);
  for (const double s : found.singular_values) BOOST_TEST(s == 0.0);
  Matrix<double> ones(80, 70);
  std::fill_n(ones.data(), ones.size(), 1.0);
  const auto single = truncated_svd(DistributedMatrix::from_rows(world, own_rows(world, ones), 80, 70), 3);
  BOOST_TEST(relative_difference(approximation(single, 3).view(), ones.view()) < 10 * 80 * eps);
}

BOOST_AUTO_TEST_CASE(bad_input_of_one_rank_is_refused_on_all) {
  const comm::Communicator world(MPI_COMM_WORLD);
  auto a = random_matrix(9, 6, RandomStream(1));
  const auto dealt = DistributedMatrix::from_rows(world, own_rows(world, a), 9, 6);
  BOOST_CHECK_THROW(truncated_svd(dealt, 0), ContractError);
  BOOST_CHECK_THROW(truncated_svd(dealt, 7), ContractError);
  BOOST_CHECK_THROW(truncated_svd(dealt, 2, SvdMethod::lanczos), ContractError);
  BOOST_CHECK_THROW(dealt.gather(3, 4), ContractError);
  const auto own = own_rows(world, a);
  BOOST_CHECK_THROW(DistributedMatrix::from_rows(world, own, 9, 6, {2, 3}), CollectiveError);
  const auto shorter = world.rank() == world.size() - 1 ? own.block(0, 0, own.rows - 1, 6) : own;
  BOOST_CHECK_THROW(DistributedMatrix::from_rows(world, shorter, 9, 6), CollectiveError);
  a(8, 5) = std::numeric_limits<double>::infinity();
  BOOST_CHECK_EXCEPTION(DistributedMatrix::from_rows(world, own, 9, 6), CollectiveError,
                        [](const CollectiveError& error) { return error.cause() == CollectiveError::Cause::data; });
}

BOOST_AUTO_TEST_CASE(a_product_with_spread_rows_is_the_whole_product) {
  const comm::Communicator world(MPI_COMM_WORLD);
  for (const Index m : {1, 2, 7, 130}) {
    const auto left = random_matrix(m, m, RandomStream(1)), right = random_matrix(m, 5, RandomStream(2));
    for (const auto transpose : {Transpose::no, Transpose::yes}) {
      Matrix<double> whole(m, 5);
      gemm(transpose, left.view(), Transpose::no, right.view(), 0.0, whole.view());
      const auto own = product_of_rows(world, transpose, left.view(), own_rows(world, right));
      BOOST_TEST(relative_difference(own.view(), own_rows(world, whole)) < 10 * static_cast<double>(m) * eps);
    }
  }
  const Matrix<double> square(4, 4), other(5 + world.size(), 2);
  BOOST_CHECK_THROW(product_of_rows(world, Transpose::no, square.view(), other.view()), CollectiveError);
}

BOOST_AUTO_TEST_SUITE_END()
