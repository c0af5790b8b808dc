#include <omp.h>

#include <boost/test/unit_test.hpp>

#include "framework/kernels/attention.hpp"
#include "tests/support/differences.hpp"
#include "tests/support/kernel_case.hpp"
#include "tests/support/reference_backward.hpp"

namespace kronlab::kernels {
namespace {

using testing::activation_types;
using testing::bound;
using testing::error_of;
using testing::random_matrix;
using testing::Strided;
namespace reference = testing::reference;

/// Heads of a teacher over the sequences of a student.
struct TeacherShape {
  Index num_kv_heads, head_dim;
};

struct Case {
  Case(const AttentionShape& shape, DType type_, TeacherShape teacher = {1, 1})
      : s(shape),
        t(teacher),
        type(type_),
        tokens(s.num_sequences * s.length),
        q(random("q", s.num_heads * s.head_dim)),
        k(random("k", s.num_kv_heads * s.head_dim)),
        v(random("v", s.num_kv_heads * s.head_dim)),
        d_out(random("d_out", s.num_heads * s.head_dim)),
        teacher_q(random("tq", s.num_heads * t.head_dim)),
        teacher_k(random("tk", t.num_kv_heads * t.head_dim)),
        dq(junk(q)),
        dk(junk(k)),
        dv(junk(v)) {}

  double run(double weight = 0) {
    const AttentionTarget target{teacher_q.view(), teacher_k.view(), t.num_kv_heads, t.head_dim, weight};
    return causal_attention_backward(s, q.view(), k.view(), v.view(), d_out.view(), dq.view(), dk.view(), dv.view(),
                                     weight == 0 ? nullptr : &target);
  }

  AttentionShape s;
  TeacherShape t;
  DType type;
  Index tokens;
  Strided q, k, v, d_out, teacher_q, teacher_k, dq, dk, dv;

 private:
  Strided random(const char* name, Index cols) const {
    return Strided(type, random_matrix(tokens, cols, RandomStream(5).child(name)));
  }
  /// What was there before must not matter.
  Strided junk(Strided& like) const {
    Matrix<double> values(tokens, like.view().cols);
    for (Index i = 0; i < values.size(); ++i) values.data()[i] = 7e7;
    return Strided(type, values);
  }
};

void check(const AttentionShape& s, double weight = 0, TeacherShape teacher = {1, 1}) {
  for (const DType type : activation_types) {
    Case c(s, type, teacher);
    const double divergence = c.run(weight);
    const auto q = c.q.values(), k = c.k.values(), tq = c.teacher_q.values(), tk = c.teacher_k.values();
    const reference::Scores teacher_scores{tq, tk, teacher.num_kv_heads, teacher.head_dim};
    const auto expected = reference::causal_attention_backward(s, q, k, c.v.values(), c.d_out.values(),
                                                               weight == 0 ? nullptr : &teacher_scores, weight);
    // a score, then the product with the gradient of a probability, then the sum over queries or keys
    const double limit = bound(type, s.length + 2 * s.head_dim);
    BOOST_TEST_CONTEXT(s.num_sequences << " x " << s.length << ", heads " << s.num_heads << "/" << s.num_kv_heads
                                       << " of " << s.head_dim << ", " << to_string(type) << ", weight " << weight) {
      BOOST_TEST(error_of(c.dq.values(), expected.dq) < limit);
      BOOST_TEST(error_of(c.dk.values(), expected.dk) < limit);
      BOOST_TEST(error_of(c.dv.values(), expected.dv) < limit);
      BOOST_TEST((c.dq.is_untouched_outside() && c.dk.is_untouched_outside() && c.dv.is_untouched_outside()));
      // logarithms of probabilities have the absolute error of scores near 1, whatever the activations are stored as
      const double found =
          weight == 0 ? 0 : reference::attention_divergence(s, teacher_scores, {q, k, s.num_kv_heads, s.head_dim});
      BOOST_TEST(std::abs(divergence - found) <= bound(type == DType::f64 ? type : DType::f32, s.length + s.head_dim));
    }
  }
}

BOOST_AUTO_TEST_SUITE(attention_backward)

BOOST_AUTO_TEST_CASE(gradients_are_central_differences_of_the_forward_kernel) {
  for (const AttentionShape& s : {AttentionShape{1, 1, 1, 1, 4}, {2, 5, 2, 1, 3}, {1, 11, 3, 3, 4}, {1, 50, 2, 1, 2}}) {
    Case c(s, DType::f64);
    c.run();
    auto q = c.q.values(), k = c.k.values(), v = c.v.values();
    const auto d_out = c.d_out.values();
    const auto loss = [&] {
      Matrix<double> out(q.rows(), q.cols());
      causal_attention(s, q.view(), k.view(), v.view(), out.view());
      return testing::weighted_sum(d_out, out);
    };
    BOOST_TEST(error_of(c.dq.values(), testing::central_differences(q, loss)) < testing::difference_bound);
    BOOST_TEST(error_of(c.dk.values(), testing::central_differences(k, loss)) < testing::difference_bound);
    BOOST_TEST(error_of(c.dv.values(), testing::central_differences(v, loss)) < testing::difference_bound);
  }
}

BOOST_AUTO_TEST_CASE(a_target_adds_the_gradient_of_its_divergence) {
  const AttentionShape s{2, 9, 4, 2, 3};
  const TeacherShape teacher{4, 5};
  constexpr double weight = 40;
  Case c(s, DType::f64, teacher);
  const double divergence = c.run(weight);
  auto q = c.q.values(), k = c.k.values();
  const auto v = c.v.values(), d_out = c.d_out.values(), tq = c.teacher_q.values(), tk = c.teacher_k.values();
  const auto mean_divergence = [&] {
    return reference::attention_divergence(s, {tq, tk, teacher.num_kv_heads, teacher.head_dim},
                                           {q, k, s.num_kv_heads, s.head_dim});
  };
  const auto loss = [&] {
    Matrix<double> out(q.rows(), q.cols());
    causal_attention(s, q.view(), k.view(), v.view(), out.view());
    return testing::weighted_sum(d_out, out) + weight * mean_divergence();
  };
  BOOST_TEST(std::abs(divergence - mean_divergence()) < bound(DType::f64, s.length + s.head_dim));
  BOOST_TEST(error_of(c.dq.values(), testing::central_differences(q, loss)) < testing::difference_bound);
  BOOST_TEST(error_of(c.dk.values(), testing::central_differences(k, loss)) < testing::difference_bound);
}

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

BOOST_AUTO_TEST_CASE(a_long_sequence_of_many_blocks_is_that_of_the_slow_reference) {
  check({1, 515, 2, 1, 20}, 300, {2, 12});
}

BOOST_AUTO_TEST_CASE(targets_of_any_heads_are_those_of_the_slow_reference) {
  for (const Index length : {1, 2, 47, 49, 100}) check({2, length, 4, 2, 12}, 30, {2, 12});
  for (const Index head_dim : {1, 7, 16, 33, 64}) check({1, 30, 2, 1, 12}, 30, {2, head_dim});
  for (const Index num_kv_heads : {1, 2, 3, 6}) check({1, 30, 6, 2, 12}, 30, {num_kv_heads, 8});
}

BOOST_AUTO_TEST_CASE(a_teacher_that_agrees_changes_no_bit) {
  const AttentionShape s{2, 70, 4, 2, 12};
  for (const DType type : activation_types) {
    Case without(s, type), with(s, type, {2, 12});
    BOOST_TEST(without.run() == 0.0);
    with.teacher_q = Strided(type, with.q.values());
    with.teacher_k = Strided(type, with.k.values());
    BOOST_TEST(with.run(1000) == 0.0);
    BOOST_TEST(error_of(with.dq.values(), without.dq.values()) == 0.0);
    BOOST_TEST(error_of(with.dk.values(), without.dk.values()) == 0.0);
    BOOST_TEST(error_of(with.dv.values(), without.dv.values()) == 0.0);
  }
}

BOOST_AUTO_TEST_CASE(teachers_that_exclude_keys_have_a_finite_divergence) {
  // the teacher sees one key in each row and its other probabilities are 0; the student sees all alike: log(t + 1) a
  // row
  const AttentionShape s{1, 60, 1, 1, 4};
  for (const DType type : activation_types) {
    Case c(s, type, {1, 4});
    Matrix<double> tq(60, 4), tk(60, 4);
    double expected = 0;
    for (Index t = 0; t < 60; ++t) {
      tq(t, 0) = 1, tk(t, 0) = 1000.0 * static_cast<double>(t % 2 == 0 ? t : -t);
      expected += std::log(static_cast<double>(t + 1)) / 60;
    }
    c.teacher_q = Strided(type, tq), c.teacher_k = Strided(type, tk), c.q = Strided(type, 60, 4);
    BOOST_TEST(std::abs(c.run(1) - expected) < bound(type == DType::f64 ? type : DType::f32, 60));
    for (Strided* gradient : {&c.dq, &c.dk, &c.dv}) {
      const auto values = gradient->values();
      for (Index i = 0; i < values.size(); ++i) BOOST_TEST(std::isfinite(values.data()[i]));
    }
  }
}

BOOST_AUTO_TEST_CASE(sequences_of_a_batch_do_not_see_each_other) {
  const AttentionShape batch{3, 50, 4, 2, 8}, single{1, 50, 4, 2, 8};
  Case c(batch, DType::f32), alone(single, DType::f32);
  c.run();
  for (Index i = 0; i < 3; ++i) {
    const auto rows = [&](Strided& m) { return m.view().block(i * 50, 0, 50, m.view().cols); };
    causal_attention_backward(single, rows(c.q), rows(c.k), rows(c.v), rows(c.d_out), alone.dq.view(), alone.dk.view(),
                              alone.dv.view());
    BOOST_TEST(testing::relative_difference(rows(c.dq), alone.dq.view()) == 0.0);
    BOOST_TEST(testing::relative_difference(rows(c.dk), alone.dk.view()) == 0.0);
    BOOST_TEST(testing::relative_difference(rows(c.dv), alone.dv.view()) == 0.0);
  }
}

BOOST_AUTO_TEST_CASE(gradients_may_lie_on_their_inputs) {
  for (const Index num_kv_heads : {2, 4}) {
    const AttentionShape s{2, 100, 4, num_kv_heads, 12};
    for (const DType type : activation_types) {
      Case apart(s, type), on_q(s, type), on_d_out(s, type);
      apart.run();
      causal_attention_backward(s, on_q.q.view(), on_q.k.view(), on_q.v.view(), on_q.d_out.view(), on_q.q.view(),
                                on_q.k.view(), on_q.v.view());
      BOOST_TEST(error_of(on_q.q.values(), apart.dq.values()) == 0.0);
      BOOST_TEST(error_of(on_q.k.values(), apart.dk.values()) == 0.0);
      BOOST_TEST(error_of(on_q.v.values(), apart.dv.values()) == 0.0);
      auto& c = on_d_out;
      causal_attention_backward(s, c.q.view(), c.k.view(), c.v.view(), c.d_out.view(), c.d_out.view(), c.dk.view(),
                                c.dv.view());
      BOOST_TEST(error_of(c.d_out.values(), apart.dq.values()) == 0.0);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_target_of_no_weight_is_only_measured) {
  const AttentionShape s{1, 60, 2, 1, 8};
  Case c(s, DType::f32, {1, 4}), without(s, DType::f32);
  without.run();
  const AttentionTarget target{c.teacher_q.view(), c.teacher_k.view(), 1, 4, 0.0};
  const double divergence = causal_attention_backward(s, c.q.view(), c.k.view(), c.v.view(), c.d_out.view(),
                                                      c.dq.view(), c.dk.view(), c.dv.view(), &target);
  BOOST_TEST(divergence > 0.1);
  BOOST_TEST(error_of(c.dq.values(), without.dq.values()) == 0.0);
  BOOST_TEST(error_of(c.dk.values(), without.dk.values()) == 0.0);
}

BOOST_AUTO_TEST_CASE(the_number_of_threads_changes_no_bit) {
  const AttentionShape s{2, 150, 6, 2, 16};
  const int before = omp_get_max_threads();
  for (const DType type : activation_types) {
    std::vector<Case> cases;
    std::vector<double> divergences;
    for (const int threads : {1, 2, 3}) {
      omp_set_num_threads(threads);
      cases.emplace_back(s, type, TeacherShape{3, 8});
      divergences.push_back(cases.back().run(50));
    }
    omp_set_num_threads(before);
    for (std::size_t i = 1; i < cases.size(); ++i) {
      BOOST_TEST(divergences[i] == divergences[0]);
      BOOST_TEST(error_of(cases[i].dq.values(), cases[0].dq.values()) == 0.0);
      BOOST_TEST(error_of(cases[i].dk.values(), cases[0].dk.values()) == 0.0);
      BOOST_TEST(error_of(cases[i].dv.values(), cases[0].dv.values()) == 0.0);
    }
  }
}

BOOST_AUTO_TEST_CASE(shapes_that_do_not_fit_are_refused) {
  Tensor q(DType::f32, {6, 8}), k(DType::f32, {6, 4}), wide(DType::f64, {6, 4}), dq(DType::f32, {6, 8}),
      dk(DType::f32, {6, 4}), dv(DType::f32, {6, 4});
  const auto run = [&](const AttentionShape& s, Tensor& keys, Tensor& d_out, const AttentionTarget* target = nullptr) {
    causal_attention_backward(s, q.view(), keys.view(), k.view(), d_out.view(), dq.view(), dk.view(), dv.view(),
                              target);
  };
  BOOST_CHECK_NO_THROW(run({2, 3, 2, 1, 4}, k, q));
  BOOST_CHECK_THROW(run({2, 3, 2, 0, 4}, k, q), ContractError);
  BOOST_CHECK_THROW(run({2, 3, 3, 2, 4}, k, q), ContractError);
  BOOST_CHECK_THROW(run({2, 4, 2, 1, 4}, k, q), ContractError);
  BOOST_CHECK_THROW(run({2, 3, 2, 1, 5}, k, q), ContractError);
  BOOST_CHECK_THROW(run({2, 3, 2, 1, 4}, wide, q), ContractError);
  BOOST_CHECK_THROW(run({2, 3, 2, 1, 4}, k, k), ContractError);
  const AttentionTarget fits{q.view(), k.view(), 1, 4, 1.0}, no_heads{q.view(), k.view(), 0, 4, 1.0},
      groups{q.view(), k.view(), 2, 2, 1.0};
  BOOST_CHECK_NO_THROW(run({2, 3, 2, 1, 4}, k, q, &fits));
  BOOST_CHECK_THROW(run({2, 3, 2, 1, 4}, k, q, &no_heads), ContractError);
  BOOST_CHECK_THROW(run({2, 3, 2, 1, 4}, k, q, &groups), ContractError);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace kronlab::kernels
