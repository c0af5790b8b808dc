// What a run moves by MPI, counted, against what was predicted.
#include <boost/test/unit_test.hpp>

#include "experiments/pipeline/model_access.hpp"
#include "experiments/pipeline/scale_estimate.hpp"
#include "tests/experiments/run_fixture.hpp"
#include "tests/support/mpi_traffic.hpp"

using namespace kronlab;
using namespace kronlab::experiments;

namespace {

model::ModelConfig small_llama() {
  auto config = kronlab::testing::tiny_llama_config();
  config.width = 128, config.ffn_width = 256, config.head_dim = 32;
  return config;
}

/// Bytes that all ranks received in a run, and those that were predicted.
struct Traffic {
  double counted = 0, predicted = 0;
  Traffic(const Fixture& fixture, const std::string& store, const std::string& stages) {
    const auto spec = ExperimentSpec::read(fixture.spec(stages).config, fixture.folder.string());
    const auto plan = CompressionPlan::make(spec, ModelAccess(spec.model.path).config());
    predicted = estimate_scale(spec, plan, 0, {}, fixture.world.size(), 1).moved_bytes();
    fixture.world.barrier();
    kronlab::testing::reset_mpi_traffic();
    fixture.run(fixture.world, store, stages);
    counted = kronlab::testing::received_mpi_bytes();
    fixture.world.sum(std::span<double>(&counted, 1));
  }
};

struct SmallFixture : Fixture {
  SmallFixture() : Fixture(small_llama()) {}
};

const std::string whitened = "[[stage]]\nlayers = [\"layers.*.mlp.*\"]\ndecompose = { kind = \"whitened-svd\", keep = 0.5 }\n";
// 12 micro-batches leave each of 2, 3 or 4 ranks with as many sums: it does not matter which pieces of a small model it has.
const std::string trained =
    "[stage.distill]\nsteps = 4\nbatch_tokens = 384\nmicro_batch = 2\nlr = 1e-3\nlosses = { kl = 1.0 }\ntrain = \"all\"\n";

}  // namespace

BOOST_AUTO_TEST_SUITE(scale_traffic)

BOOST_FIXTURE_TEST_CASE(calibration_and_decompositions_move_what_was_predicted, SmallFixture) {
  const Traffic traffic(*this, "store", whitened);
  BOOST_TEST_MESSAGE(traffic.predicted << " bytes were predicted, " << traffic.counted << " counted");
  BOOST_TEST(traffic.predicted > 1e6);
  BOOST_TEST(traffic.predicted / traffic.counted > 0.97);
  BOOST_TEST(traffic.predicted / traffic.counted < 1.03);
}

BOOST_FIXTURE_TEST_CASE(a_distillation_moves_what_was_predicted, SmallFixture) {
  const Traffic traffic(*this, "store", whitened + trained);
  BOOST_TEST_MESSAGE(traffic.predicted << " bytes were predicted, " << traffic.counted << " counted");
  BOOST_TEST(traffic.predicted > 1e7);
  BOOST_TEST(traffic.predicted / traffic.counted > 0.97);
  BOOST_TEST(traffic.predicted / traffic.counted < 1.03);
}

BOOST_AUTO_TEST_SUITE_END()
