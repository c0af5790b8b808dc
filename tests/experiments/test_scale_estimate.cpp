// What `kronlab check` predicts of a run on many ranks, from configurations alone.
#include <boost/test/unit_test.hpp>
#include <filesystem>

#include "experiments/pipeline/memory_estimate.hpp"
#include "experiments/pipeline/scale_estimate.hpp"
#include "framework/base/hash.hpp"
#include "framework/base/progress.hpp"
#include "tests/experiments/large_models.hpp"
#include "tests/support/message_of.hpp"
#include "tests/support/test_data.hpp"
#include "tests/support/tiny_model.hpp"

using namespace kronlab;
using namespace kronlab::experiments;
using kronlab::testing::message_of;

namespace {

const std::string data = "[data]\ncalibration = { path = \"/nowhere/c\", tokens = 131072 }\ndistillation = { path = \"/nowhere/c\", window = 512 }\n";
const std::string evaluate = "[[evaluate]]\ndataset = { path = \"/nowhere/e\" }\nprotocol = { window = 1024 }\nmax_windows = 64\n";
const std::string healed = "distill = { steps = 10, batch_tokens = 65536, micro_batch = 1, losses = { kl = 1.0 }, train = \"factors\", lr = 1e-3 }\n";

std::string compressing(const std::string& layers) {
  return "[[stage]]\nlayers = [\"" + layers + "\"]\ndecompose = { kind = \"whitened-svd\", keep = 0.5 }\n" + healed;
}

const std::string in_single = "[experiment]\nname = \"e\"\n[model]\npath = \"m\"\n";
const std::string in_double = "[experiment]\nname = \"e\"\nprecision = \"fp64\"\n[model]\npath = \"m\"\n";

struct Planned {
  ExperimentSpec spec;
  CompressionPlan plan;
  Planned(const std::string& toml, const model::ModelConfig& model)
      : spec(ExperimentSpec::read(config::parse_toml((toml.starts_with(in_double) ? "" : in_single) + toml, "f.toml"), ".")),
        plan(CompressionPlan::make(spec, model)) {}
  ScaleEstimate on(int ranks, const MachineRates& rates = {}) const { return estimate_scale(spec, plan, 0, rates, ranks, 1); }
};

PartEstimate of(const ScaleEstimate& estimate, const std::string& name, Index stage) {
  for (const auto& part : estimate.parts) {
    if (part.name == name && part.stage == stage) return part;
  }
  BOOST_FAIL("no part " << name);
  return {};
}

bool has_limit(const ScaleEstimate& estimate, const std::string& words) {
  return std::ranges::any_of(estimate.limits, [&](const std::string& limit) { return limit.find(words) != std::string::npos; });
}

/// A machine on which all but some things take no time.
MachineRates free_of_charge() {
  MachineRates rates;
  rates.gemm_fp32_gflops = rates.gemm_fp32_narrow_gflops = rates.gemm_fp64_gflops = rates.attention_gflops = rates.elementwise_gb_s = 1e12;
  rates.likelihood_glogits_s = rates.loss_glogits_s = rates.memory_gb_s = rates.load_gb_s = rates.network_gb_s = rates.disk_gb_s = rates.hash_gb_s = 1e12;
  rates.network_latency_us = 0;
  rates.other_decompose_gmacs = rates.other_search_gmacs = 1e12;
  return rates;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(scale_estimates)

BOOST_AUTO_TEST_CASE(without_text_a_rank_reads_the_weights_that_it_decomposes_and_holds_factors) {
  const Planned planned("[[stage]]\nlayers = [\"layers.*.mlp.*\"]\ndecompose = { kind = \"svd\", keep = 0.5 }\n", kronlab::testing::llama2_70b());
  const double parameters = static_cast<double>(model::num_parameters(planned.plan.config)), in_mlps = 80.0 * 3 * 8192 * 28672;
  for (const int ranks : {1, 64, 1024}) {
    const auto estimate = planned.on(ranks);
    BOOST_TEST(estimate.read_bytes() == 2 * (parameters + in_mlps), boost::test_tools::tolerance(1e-12));  // hashed once, decomposed once
    BOOST_TEST(estimate.memory_bytes() < 4 * parameters);
  }
  BOOST_TEST(has_limit(planned.on(64), "every rank holds all factors"));
}

BOOST_AUTO_TEST_CASE(models_of_70_and_175_billion_parameters_are_estimated_on_1024_ranks_at_once) {
  const std::pair<model::ModelConfig, std::string> models[] = {{kronlab::testing::llama2_70b(), "layers.*.mlp.*"}, {kronlab::testing::gpt_175b(), "h.*.mlp.*"}};
  for (const auto& [config, layers] : models) {
    const Planned planned(data + evaluate + compressing(layers), config);
    const double parameters = static_cast<double>(model::num_parameters(config));
    BOOST_TEST(parameters > 68e9);
    double before = 0;
    for (const int ranks : {64, 128, 256, 512, 1024}) {
      const double started = now_s();
      const auto estimate = planned.on(ranks);
      BOOST_TEST(now_s() - started < 2.0);
      BOOST_TEST(estimate.memory_bytes() > 4 * parameters);  // a dense teacher in float32
      BOOST_TEST(estimate.read_bytes() == 2 * parameters * (1 + ranks), boost::test_tools::tolerance(1e-12));
      BOOST_TEST(has_limit(estimate, "every rank reads all weights and holds all of student and teacher"));
      BOOST_TEST(estimate.moved_bytes() > before);
      before = estimate.moved_bytes();
    }
    const auto few = planned.on(64), many = planned.on(256);
    BOOST_TEST(of(many, "decomposition", 0).seconds < of(few, "decomposition", 0).seconds);
    BOOST_TEST(of(many, "distillation", 0).seconds < of(few, "distillation", 0).seconds * 0.6 + 1e4);
    BOOST_TEST(has_limit(many, "distillation of stage 0: 128 micro-batches a step, so 128 of 256 ranks compute nothing"));
    BOOST_TEST(!has_limit(few, "compute nothing"));
  }
}

BOOST_AUTO_TEST_CASE(an_evaluation_takes_the_operations_of_its_layers_and_head_at_the_rate_of_products) {
  const auto config = kronlab::testing::llama2_7b();
  const Planned planned(data + evaluate + compressing("layers.*.mlp.*"), config);
  auto rates = free_of_charge();
  rates.gemm_fp32_gflops = rates.gemm_fp32_narrow_gflops = 100;
  const double layers = 32.0 * (4 * 4096 * 4096 + 3 * 4096 * 11008), head = 32000.0 * 4096, tokens = 64 * 1023;
  for (const int ranks : {1, 16, 64}) {
    const double seconds = of(planned.on(ranks, rates), "evaluation", -1).seconds;
    BOOST_TEST(seconds == 2e-9 * (layers + head) * tokens / ranks / 100, boost::test_tools::tolerance(1e-6));
  }
  BOOST_TEST(of(planned.on(100, rates), "evaluation", -1).seconds == of(planned.on(64, rates), "evaluation", -1).seconds);  // 64 windows
  BOOST_TEST(has_limit(planned.on(100, rates), "evaluation on e: 64 batches of windows, so 36 of 100 ranks are idle"));
  const Planned wide(in_double + data + evaluate + compressing("layers.*.mlp.*"), config);
  rates.gemm_fp64_gflops = 25;
  BOOST_TEST(of(wide.on(1, rates), "evaluation", -1).seconds == 2e-9 * (layers + head) * tokens / 25, boost::test_tools::tolerance(1e-6));
  const double after = layers - static_cast<double>(planned.plan.dense.parameters - planned.plan.stages[0].after.parameters);
  BOOST_TEST(of(planned.on(1, rates), "evaluation", 0).seconds == 2e-9 * (after + head) * tokens / 100, boost::test_tools::tolerance(1e-6));
}

BOOST_AUTO_TEST_CASE(gradients_are_exchanged_twice_whatever_the_number_of_ranks) {
  const auto config = kronlab::testing::tiny_llama_config();
  const std::string stage = "[[stage]]\n[stage.distill]\nsteps = 3\nlr = 0.1\nbatch_tokens = 512\nmicro_batch = 1\nlosses = { ce = 1.0 }\n";
  const Planned planned("[data]\ndistillation = { path = \"/nowhere/c\", window = 32 }\n" + stage, config);
  const double bytes = 4 * static_cast<double>(planned.plan.dense.parameters);
  BOOST_TEST(planned.on(1).moved_bytes() == 0);
  for (const int ranks : {2, 4, 8}) {  // powers of two of 16 micro-batches: each rank has one node of the tree
    const double steps = 3 * 2 * bytes * (ranks - 1), checkpoint = 2 * bytes * (ranks - 1);
    BOOST_TEST(of(planned.on(ranks), "distillation", 0).moved_bytes == steps + checkpoint, boost::test_tools::tolerance(1e-12));
  }
}

BOOST_AUTO_TEST_CASE(rates_are_read_from_a_machine_file_beside_what_belongs_to_others) {
  const kronlab::testing::TemporaryFolder folder;
  const std::string path = folder / "m.toml";
  MachineRates rates;
  rates.gemm_fp32_gflops = 123.5, rates.network_gb_s = 12, rates.threads = 4;
  rates.decompose_gmacs["svd"] = 7.25;
  write_file_atomically(path, "[partition]\nname = \"big\"\n" + config::to_toml(rates.to_value()));
  const auto read = MachineRates::read(path);
  BOOST_TEST(read.gemm_fp32_gflops == 123.5);
  BOOST_TEST(read.network_gb_s == 12);
  BOOST_TEST(read.threads == 4);
  BOOST_TEST(read.decompose("svd") == 7.25);
  BOOST_TEST(read.decompose("mpo") == read.other_decompose_gmacs);
  BOOST_TEST(read.origin == path);
  BOOST_TEST(!MachineRates().is_measured());
  const auto error = [&](const std::string& text) {
    write_file_atomically(path, text);
    return message_of([&] { MachineRates::read(path); });
  };
  BOOST_TEST(error("[partition]\nname = \"big\"\n").find("no [rates]: measure them with `kronlab profile") != std::string::npos);
  BOOST_TEST(error("[rates]\nnetwork_gbs = 1.0\n").find("m.toml:2:1: unknown key 'rates.network_gbs'") != std::string::npos);
  BOOST_TEST(error("[rates]\nnetwork_gb_s = -1.0\n").find("m.toml:2:") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(the_rate_of_products_goes_through_both_measurements) {
  MachineRates rates;
  rates.gemm_fp32_gflops = 100, rates.gemm_fp32_narrow_gflops = 80;
  BOOST_TEST(rates.gemm_gflops(false, 512, 512) == 80, boost::test_tools::tolerance(1e-12));
  BOOST_TEST(rates.gemm_gflops(false, 1e9, 1e9) == 100, boost::test_tools::tolerance(1e-6));
  BOOST_TEST(rates.gemm_gflops(false, 64, 1e9) < 80);
}

BOOST_AUTO_TEST_SUITE_END()
