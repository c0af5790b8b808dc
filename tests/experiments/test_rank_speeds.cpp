// A slow rank gets less to do, and nothing else changes.
#include <algorithm>
#include <boost/test/unit_test.hpp>

#include "experiments/pipeline/compress_stage.hpp"
#include "experiments/pipeline/model_access.hpp"
#include "experiments/pipeline/rank_speeds.hpp"
#include "tests/experiments/run_fixture.hpp"

using namespace kronlab;
using namespace kronlab::experiments;

namespace {

const std::string stage = "[[stage]]\nlayers = [\"layers.*.*.*\"]\ndecompose = { kind = \"kronecker\", right_rows = 2, right_cols = 4, num_terms = 2 }\n"
                          "permute = { kind = \"swap-descent\", weighting = \"inputs\" }\n";

/// A stage on ranks of these speeds: its factors, and how many layers each rank decomposed.
struct Compressed {
  std::string factors;
  std::vector<Index> num_layers;

  Compressed(const Fixture& fixture, const std::vector<double>& speeds) {
    const auto spec = ExperimentSpec::read(fixture.spec(stage).config, fixture.folder.string());
    const ModelAccess access(spec.model.path);
    const auto plan = CompressionPlan::make(spec, access.config());
    const auto ids = first_tokens(fixture.world, access, spec.calibration->text.paths, spec.calibration->text.tokens);
    auto student = access.load();
    const StageInput input{spec, plan, 0, ids, nullptr, {}, speeds};
    const auto outcome = compress_stage(fixture.world, input, student);
    num_layers.resize(static_cast<std::size_t>(fixture.world.size()));
    for (const auto& layer : outcome.layers) {
      factors += decompositions::serialise(layer.parts);
      num_layers[static_cast<std::size_t>(fixture.world.rank())] += layer.is_own;
    }
    fixture.world.sum(std::span(num_layers));
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(speeds_of_ranks)

BOOST_FIXTURE_TEST_CASE(a_rank_of_half_the_speed_does_less_and_the_factors_are_the_same_bits, Fixture) {
  const auto size = static_cast<std::size_t>(world.size());
  std::vector<double> speeds(size, 1.0);
  const Compressed even(*this, speeds);
  speeds.back() = 0.5;
  const Compressed uneven(*this, speeds);
  BOOST_TEST((even.factors == uneven.factors));
  BOOST_TEST(!even.factors.empty());
  if (size > 1) {
    BOOST_TEST(uneven.num_layers.back() < even.num_layers.back());
    BOOST_TEST(uneven.num_layers.back() > 0);
  }
}

BOOST_FIXTURE_TEST_CASE(speeds_are_measured_and_the_same_on_all_ranks, Fixture) {
  const auto speeds = rank_speeds(world);
  BOOST_TEST_REQUIRE(speeds.size() == static_cast<std::size_t>(world.size()));
  for (const double speed : speeds) {
    BOOST_TEST(speed >= 0.125);
    BOOST_TEST(world.max(speed) == speed);
  }
  if (world.size() == 1) BOOST_TEST(speeds.front() == 1.0);
}

BOOST_AUTO_TEST_CASE(speeds_are_rounded_so_that_equal_nodes_stay_equal) {
  BOOST_TEST(speeds_from({1.0, 1.2, 0.9, 1.0}) == (std::vector<double>{1, 1, 1, 1}), boost::test_tools::per_element());
  BOOST_TEST(speeds_from({1.0, 2.0, 1.1}) == (std::vector<double>{1, 0.5, 1}), boost::test_tools::per_element());  // the median is 1.1
  BOOST_TEST(speeds_from({1.0, 1.0, 0.5, 1e6}) == (std::vector<double>{1, 1, 2, 0.125}), boost::test_tools::per_element());
  BOOST_TEST(speeds_from({3.0}) == (std::vector<double>{1}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_rank_that_takes_longer_than_its_work_says_is_slower_from_the_next_group_on) {
  const std::vector<double> even(4, 1.0), costs = {10, 10, 10, 10};
  const auto equal = [](const std::vector<double>& found, const std::vector<double>& expected) { BOOST_TEST(found == expected, boost::test_tools::per_element()); };
  equal(speeds_after(even, costs, {3, 3.3, 3, 6}), {1, 1, 1, 0.5});
  equal(speeds_after({1, 1, 1, 0.5}, {12, 12, 12, 6}, {3.6, 3.5, 3.6, 3.7}), {1, 1, 1, 0.5});  // it stays slow, with less to do
  equal(speeds_after({1, 1, 1, 0.5}, {12, 12, 12, 6}, {3.6, 3.5, 3.6, 1.8}), {1, 1, 1, 1});    // and recovers
  equal(speeds_after({1, 1, 1, 0.5}, {12, 12, 12, 0}, {3.6, 3.5, 3.6, 0}), {1, 1, 1, 0.5});    // had nothing to do: nothing is learned
  equal(speeds_after(even, costs, {0.1, 0.2, 0.4, 0.3}), even);                                // too short to tell
  equal(speeds_after({1, 0.5}, {10, 5}, {0, 3}), {1, 0.5});                                    // one alone tells nothing of the others
}

BOOST_AUTO_TEST_SUITE_END()
