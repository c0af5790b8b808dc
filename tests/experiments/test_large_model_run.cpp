// Some layers of a model of LLaMA-2 70B's shape are decomposed: a rank reads and holds one of them at a time, and no more.
#include <boost/test/unit_test.hpp>

#include "experiments/pipeline/compress_stage.hpp"
#include "experiments/pipeline/memory_estimate.hpp"
#include "experiments/pipeline/model_access.hpp"
#include "framework/base/progress.hpp"
#include "tests/bench/measurement.hpp"
#include "tests/experiments/large_models.hpp"
#include "tests/experiments/sparse_model.hpp"
#include "tests/support/test_data.hpp"

using namespace kronlab;
using namespace kronlab::experiments;

BOOST_AUTO_TEST_SUITE(large_models)

BOOST_AUTO_TEST_CASE(a_stage_on_a_model_of_70_billion_parameters_takes_seconds_and_the_memory_of_its_layers) {
  const comm::Communicator world(MPI_COMM_WORLD);
  const kronlab::testing::TemporaryFolder folder;
  kronlab::testing::write_sparse_model(folder.path() / "model", kronlab::testing::llama2_70b());
  const auto spec = ExperimentSpec::read(config::parse_toml(R"([experiment]
name = "large"
[model]
path = "model"
[[stage]]
layers = ["layers.{3,19,41,57,70,79}.self_attn.{k,v}_proj"]
decompose = { kind = "kronecker", right_rows = 2, right_cols = 4, num_terms = 2 }
)",
                                                           "e.toml"),
                                        folder.path().string());
  const double before_mib = bench::peak_memory().mib, started = now_s();
  const ModelAccess access(spec.model.path);
  const auto plan = CompressionPlan::make(spec, access.config());
  auto student = access.open();
  const std::vector<std::int32_t> no_ids;
  const StageInput input{spec, plan, 0, no_ids, nullptr, {}, {}};
  const auto outcome = compress_stage(world, input, student);
  BOOST_TEST(outcome.layers.size() == 12u);
  BOOST_TEST(student.num_parameters() == plan.stages.front().after.parameters);
  BOOST_TEST(now_s() - started < 60);
  const double more_mib = bench::peak_memory().mib - before_mib, estimated_mib = static_cast<double>(estimated_memory_bytes(spec, plan, world.size())) / (1 << 20);
  BOOST_TEST_MESSAGE(fmt::format("{:.0f} MiB more, estimated {:.0f} MiB with the program", more_mib, estimated_mib));
  BOOST_TEST(more_mib < 1024);  // a weight is 32 MiB in float32, what its decomposition needs about 8 times that; the model is 263 GiB
  BOOST_TEST(more_mib < 1.25 * estimated_mib);
}

BOOST_AUTO_TEST_SUITE_END()
