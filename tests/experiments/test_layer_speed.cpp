// Seconds of single products, and the rounds that measure them.
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <thread>

#include "experiments/pipeline/layer_speed.hpp"
#include "experiments/pipeline/rounds.hpp"
#include "tests/support/message_of.hpp"

using namespace kronlab;
using namespace kronlab::experiments;

namespace {

/// Notes what it is applied to, and takes its time.
class Slow final : public linalg::LinearOperator {
 public:
  Slow(Index rows, Index cols, int milliseconds) : LinearOperator(rows, cols), milliseconds_(milliseconds) {}
  Index num_parameters() const override { return 0; }
  mutable std::vector<std::string> calls;

 private:
  void do_apply(ConstTensorView x, TensorView y, linalg::Write) const override {
    calls.push_back(fmt::format("{} {} {} {}", x.rows, x.cols, to_string(x.dtype), to_string(y.dtype)));
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds_));
  }
  void do_apply_adjoint(ConstTensorView, TensorView, linalg::Write) const override {}
  void do_gather_rows(std::span<const std::int32_t>, TensorView) const override {}

  int milliseconds_;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(layer_speed)

BOOST_AUTO_TEST_CASE(pieces_of_work_are_done_in_turn_at_least_three_times_after_a_first_that_is_not_counted) {
  std::string calls;
  const std::vector<std::function<void()>> work{[&] { calls += "a"; }, [&] { calls += "b"; }};
  const auto seconds = median_seconds(work, 0.0);
  BOOST_TEST(calls == "abababab");
  BOOST_TEST(seconds.size() == 2u);
  int rounds = 0;
  const std::vector<std::function<void()>> slow_at_first{
      [&] { std::this_thread::sleep_for(std::chrono::milliseconds(rounds++ < 2 ? 20 : 1)); }};
  const auto median = median_seconds(slow_at_first, 0.06).front();
  BOOST_TEST(rounds > 4);
  BOOST_TEST(median >= 1e-3);
  BOOST_TEST(median < 20e-3);
}

BOOST_AUTO_TEST_CASE(a_product_is_measured_with_so_many_tokens_in_the_activation_type) {
  const Slow fast(3, 5, 1), slow(7, 2, 4);
  const linalg::LinearOperator* const both[] = {&fast, &slow};
  const auto seconds = apply_seconds(both, 6, model::Precision::bf16, 0.0);
  BOOST_TEST_REQUIRE(seconds.size() == 2u);
  BOOST_TEST(seconds[0] >= 1e-3);
  BOOST_TEST(seconds[1] >= 4e-3);
  BOOST_TEST(slow.calls == std::vector<std::string>(4, "6 2 bf16 bf16"), boost::test_tools::per_element());
  BOOST_TEST(apply_seconds(fast, 1, model::Precision::fp64, 0.0) >= 1e-3);
  BOOST_TEST(fast.calls.back() == "1 5 f64 f64");
  const auto no_tokens = kronlab::testing::message_of([&] { apply_seconds(fast, 0, model::Precision::fp32); });
  BOOST_TEST(no_tokens.find("products with 0 tokens") != std::string::npos, no_tokens);
}

BOOST_AUTO_TEST_SUITE_END()
