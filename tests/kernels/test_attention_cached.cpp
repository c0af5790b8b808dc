#include <omp.h>

#include <boost/test/unit_test.hpp>

#include "framework/kernels/attention_cached.hpp"
#include "tests/support/kernel_case.hpp"

namespace kronlab::kernels {
namespace {

using testing::activation_types;
using testing::bound;
using testing::error_of;
using testing::random_matrix;
using testing::Strided;
namespace reference = testing::reference;

struct Inputs {
  Inputs(const AttentionShape& s, Index num_queries, DType type)
      : q(type, random_matrix(num_queries, s.num_heads * s.head_dim, RandomStream(3).child("q"))),
        k(type, random_matrix(s.length, s.num_kv_heads * s.head_dim, RandomStream(3).child("k"))),
        v(type, random_matrix(s.length, s.num_kv_heads * s.head_dim, RandomStream(3).child("v"))) {}
  Strided q, k, v;
};

void check(const AttentionShape& s, Index num_queries) {
  for (const DType type : activation_types) {
    Inputs in(s, num_queries, type);
    Strided out(type, num_queries, s.num_heads * s.head_dim);
    cached_attention(s, in.q.view(), in.k.view(), in.v.view(), out.view());
    const auto expected = reference::cached_attention(s, in.q.values(), in.k.values(), in.v.values());
    BOOST_TEST(error_of(out.values(), expected) < bound(type, s.length + s.head_dim),
               num_queries << " of " << s.length << ", heads " << s.num_heads << "/" << s.num_kv_heads << " of "
                           << s.head_dim);
    BOOST_TEST(out.is_untouched_outside());
  }
}

BOOST_AUTO_TEST_SUITE(attention_cached)

BOOST_AUTO_TEST_CASE(every_number_of_queries_length_and_head_is_that_of_the_slow_reference) {
  for (const Index length : {1, 2, 7, 16, 33, 97}) {
    check({1, length, 2, 1, 12}, 1);
    check({1, length, 2, 1, 12}, length);
  }
  check({1, 97, 2, 1, 12}, 40);
  for (const Index head_dim : {1, 2, 6, 8, 15, 16, 17, 33, 64, 65, 300}) check({1, 50, 2, 2, head_dim}, 3);
}

BOOST_AUTO_TEST_CASE(query_heads_share_key_and_value_heads_in_groups) {
  for (const Index num_kv_heads : {6, 3, 2, 1}) check({1, 21, 6, num_kv_heads, 8}, 2);
  check({1, 21, 9, 3, 8}, 2);
}

BOOST_AUTO_TEST_CASE(large_scores_do_not_overflow) {
  const AttentionShape s{1, 20, 1, 1, 4};
  for (const DType type : activation_types) {
    Inputs in(s, 1, type);
    Matrix<double> q(1, 4), k(20, 4);
    q(0, 0) = 1;
    for (Index t = 0; t < 20; ++t) k(t, 0) = t == 7 ? 1e30 : -1e30;
    Strided out(type, 1, 4), query(type, q), keys(type, k);
    cached_attention(s, query.view(), keys.view(), in.v.view(), out.view());
    for (Index j = 0; j < 4; ++j) BOOST_TEST(out.values()(0, j) == in.v.values()(7, j));
  }
}

BOOST_AUTO_TEST_CASE(neither_the_number_of_threads_nor_how_a_sequence_is_cut_changes_a_bit) {
  const AttentionShape s{1, 150, 6, 2, 16};
  const int before = omp_get_max_threads();
  for (const DType type : activation_types) {
    Inputs in(s, 150, type);
    Strided whole(type, 150, 96), pieces(type, 150, 96);
    omp_set_num_threads(1);
    cached_attention(s, in.q.view(), in.k.view(), in.v.view(), whole.view());
    omp_set_num_threads(3);
    for (Index first = 0; first < 150; first += 37) {
      const Index count = std::min<Index>(37, 150 - first), length = first + count;
      cached_attention({1, length, 6, 2, 16}, in.q.view().block(first, 0, count, 96),
                       in.k.view().block(0, 0, length, 32), in.v.view().block(0, 0, length, 32),
                       pieces.view().block(first, 0, count, 96));
    }
    omp_set_num_threads(before);
    BOOST_TEST(testing::relative_difference(pieces.view(), whole.view()) == 0.0);
  }
}

BOOST_AUTO_TEST_CASE(shapes_that_do_not_fit_are_refused) {
  Tensor q(DType::f32, {2, 8}), k(DType::f32, {6, 4}), out(DType::f32, {2, 8}), wide(DType::f64, {6, 4});
  const auto attend = [&](const AttentionShape& s, const Tensor& keys) {
    cached_attention(s, std::as_const(q).view(), keys.view(), std::as_const(k).view(), out.view());
  };
  BOOST_CHECK_NO_THROW(attend({1, 6, 2, 1, 4}, k));
  BOOST_CHECK_THROW(attend({2, 3, 2, 1, 4}, k), ContractError);
  BOOST_CHECK_THROW(attend({1, 5, 2, 1, 4}, k), ContractError);
  BOOST_CHECK_THROW(attend({1, 1, 2, 1, 4}, k), ContractError);
  BOOST_CHECK_THROW(attend({1, 6, 2, 0, 4}, k), ContractError);
  BOOST_CHECK_THROW(attend({1, 6, 3, 2, 4}, k), ContractError);
  BOOST_CHECK_THROW(attend({1, 6, 2, 1, 5}, k), ContractError);
  BOOST_CHECK_THROW(attend({1, 6, 2, 1, 4}, wide), ContractError);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace kronlab::kernels
