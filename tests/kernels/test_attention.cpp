#include <omp.h>

#include <boost/test/unit_test.hpp>

#include "framework/kernels/attention.hpp"
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
  Inputs(const AttentionShape& s, DType type, std::uint64_t seed = 3)
      : q(type, random_matrix(s.num_sequences * s.length, s.num_heads * s.head_dim, RandomStream(seed).child("q"))),
        k(type, random_matrix(s.num_sequences * s.length, s.num_kv_heads * s.head_dim, RandomStream(seed).child("k"))),
        v(type, random_matrix(s.num_sequences * s.length, s.num_kv_heads * s.head_dim, RandomStream(seed).child("v"))) {
  }
  Strided q, k, v;
};

void check(const AttentionShape& s) {
  for (const DType type : activation_types) {
    Inputs in(s, type);
    Strided out(type, s.num_sequences * s.length, s.num_heads * s.head_dim);
    causal_attention(s, in.q.view(), in.k.view(), in.v.view(), out.view());
    const auto expected = reference::causal_attention(s, in.q.values(), in.k.values(), in.v.values());
    BOOST_TEST(error_of(out.values(), expected) < bound(type, s.length + s.head_dim),
               s.num_sequences << " x " << s.length << ", heads " << s.num_heads << "/" << s.num_kv_heads << " of "
                               << s.head_dim);
    BOOST_TEST(out.is_untouched_outside());
  }
}

BOOST_AUTO_TEST_SUITE(attention)

BOOST_AUTO_TEST_CASE(every_length_and_head_is_that_of_the_slow_reference) {
  for (const Index length : {1, 2, 7, 16, 31, 47, 48, 49, 97}) check({2, length, 2, 1, 12});
  for (const Index head_dim : {1, 2, 6, 8, 15, 16, 17, 33, 64, 65}) check({1, 50, 2, 2, head_dim});
}

BOOST_AUTO_TEST_CASE(query_heads_share_key_and_value_heads_in_groups) {
  check({1, 21, 1, 1, 8});
  check({1, 21, 6, 6, 8});
  check({1, 21, 6, 3, 8});
  check({1, 21, 6, 2, 8});
  check({1, 21, 9, 3, 8});
  check({3, 21, 5, 1, 8});
}

BOOST_AUTO_TEST_CASE(a_long_sequence_of_many_blocks_is_that_of_the_slow_reference) { check({1, 515, 2, 1, 20}); }

BOOST_AUTO_TEST_CASE(sequences_of_a_batch_do_not_see_each_other) {
  const AttentionShape batch{3, 50, 4, 2, 8}, single{1, 50, 4, 2, 8};
  Inputs in(batch, DType::f32);
  Strided together(DType::f32, 150, 32), alone(DType::f32, 50, 32);
  causal_attention(batch, in.q.view(), in.k.view(), in.v.view(), together.view());
  for (Index s = 0; s < 3; ++s) {
    const auto rows = [&](Strided& m) { return m.view().block(s * 50, 0, 50, m.view().cols); };
    causal_attention(single, rows(in.q), rows(in.k), rows(in.v), alone.view());
    BOOST_TEST(testing::relative_difference(rows(together), alone.view()) == 0.0);
  }
}

BOOST_AUTO_TEST_CASE(what_comes_later_changes_no_bit) {
  const AttentionShape s{1, 100, 2, 1, 8};
  for (const DType type : activation_types) {
    Inputs in(s, type), changed(s, type);
    for (Strided* m : {&changed.q, &changed.k, &changed.v}) {
      auto values = m->values();
      for (Index i = 60; i < 100; ++i) {
        for (double& value : values.row(i)) value = 1e3 * value + 5;
      }
      *m = Strided(type, values);
    }
    Strided a(type, 100, 16), b(type, 100, 16);
    causal_attention(s, in.q.view(), in.k.view(), in.v.view(), a.view());
    causal_attention(s, changed.q.view(), changed.k.view(), changed.v.view(), b.view());
    BOOST_TEST(testing::relative_difference(a.view().block(0, 0, 60, 16), b.view().block(0, 0, 60, 16)) == 0.0);
  }
}

BOOST_AUTO_TEST_CASE(extreme_scores_give_one_value_and_equal_ones_the_mean) {
  const AttentionShape s{1, 70, 1, 1, 4};
  for (const DType type : activation_types) {
    Inputs in(s, type);
    Matrix<double> q(70, 4), k(70, 4);
    for (Index t = 0; t < 70; ++t) q(t, 0) = 1, k(t, 0) = t == 20 ? 1e30 : t == 0 ? 0 : -1e30;
    Strided out(type, 70, 4), queries(type, q), keys(type, k), none(type, 70, 4);
    causal_attention(s, queries.view(), keys.view(), in.v.view(), out.view());
    // keys of -1e30 are as good as masked: until 20 only the first is seen, then only the twentieth
    const auto found = out.values(), v = in.v.values();
    for (Index t = 0; t < 70; ++t) {
      for (Index j = 0; j < 4; ++j) BOOST_TEST(found(t, j) == v(t < 20 ? 0 : 20, j));
    }
    causal_attention(s, none.view(), keys.view(), in.v.view(), out.view());
    Matrix<double> means(70, 4);
    for (Index t = 0; t < 70; ++t) {
      for (Index key = 0; key <= t; ++key) {
        for (Index j = 0; j < 4; ++j) means(t, j) += v(key, j) / static_cast<double>(t + 1);
      }
    }
    BOOST_TEST(error_of(out.values(), means) < bound(type, 70));
  }
}

BOOST_AUTO_TEST_CASE(the_number_of_threads_changes_no_bit) {
  const AttentionShape s{2, 150, 6, 2, 16};
  const int before = omp_get_max_threads();
  Inputs in(s, DType::f32);
  std::vector<Strided> results;
  for (const int threads : {1, 3}) {
    omp_set_num_threads(threads);
    Strided out(DType::f32, 300, 96);
    causal_attention(s, in.q.view(), in.k.view(), in.v.view(), out.view());
    results.push_back(std::move(out));
  }
  omp_set_num_threads(before);
  BOOST_TEST(testing::relative_difference(results[0].view(), results[1].view()) == 0.0);
}

BOOST_AUTO_TEST_CASE(shapes_that_do_not_fit_are_refused) {
  Tensor q(DType::f32, {6, 8}), k(DType::f32, {6, 4}), out(DType::f32, {6, 8}), wide(DType::f64, {6, 4});
  BOOST_CHECK_NO_THROW(causal_attention({2, 3, 2, 1, 4}, q.view(), k.view(), k.view(), out.view()));
  BOOST_CHECK_THROW(causal_attention({2, 3, 2, 0, 4}, q.view(), k.view(), k.view(), out.view()), ContractError);
  BOOST_CHECK_THROW(causal_attention({2, 3, 3, 2, 4}, q.view(), k.view(), k.view(), out.view()), ContractError);
  BOOST_CHECK_THROW(causal_attention({2, 4, 2, 1, 4}, q.view(), k.view(), k.view(), out.view()), ContractError);
  BOOST_CHECK_THROW(causal_attention({2, 3, 2, 1, 5}, q.view(), k.view(), k.view(), out.view()), ContractError);
  BOOST_CHECK_THROW(causal_attention({2, 3, 2, 1, 4}, q.view(), wide.view(), k.view(), out.view()), ContractError);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace kronlab::kernels
