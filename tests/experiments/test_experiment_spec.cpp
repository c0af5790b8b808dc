#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <map>

#include "experiments/pipeline/experiment_spec.hpp"
#include "framework/config/read_toml_file.hpp"
#include "tests/support/message_of.hpp"

using namespace kronlab;
using namespace kronlab::experiments;
using kronlab::testing::message_of;

namespace {

ExperimentSpec spec_of(const std::string& toml) {
  return ExperimentSpec::read(config::parse_toml(toml, "f.toml"), "/base");
}

const std::string head = "[experiment]\nname = \"e\"\n[model]\npath = \"m\"\n";
const std::string calibration = "[data]\ncalibration = { path = \"c.txt\", tokens = 2048, window = 64 }\n";
const std::string stage = "[[stage]]\nlayers = [\"wte\"]\n";

std::string error_of(const std::string& toml) {
  return message_of([&] { spec_of(toml); });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(experiment_spec)

BOOST_AUTO_TEST_CASE(what_is_resolved_reads_back_to_the_same_run) {
  const auto once = spec_of(
      head + calibration + stage +
      "decompose = { kind = \"kronecker\", right_rows = 1, right_cols = 2 }\npermute = { kind = \"swap-descent\" }\n"
      "[[evaluate]]\ndataset = { path = \"t.txt\" }\n");
  BOOST_TEST(once.evaluations[0].name == "t");
  BOOST_TEST(once.evaluations[0].path == "/base/t.txt");
  BOOST_TEST(once.stages[0].parts[0].method == "permuted(kronecker)");
  const auto again =
      ExperimentSpec::read(config::parse_toml(config::to_toml(once.resolved), "again.toml"), "/elsewhere");
  BOOST_TEST(config::to_text(again.resolved) == config::to_text(once.resolved));
  BOOST_TEST(config::to_toml(once.resolved).find("stride = 1024") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(outputs_are_matched_where_inputs_change) {
  const auto with = [](const std::string& keys) { return head + "[data]\ncalibration = { path = \"c.txt\", tokens = 2048, window = 64, " + keys + " }\n"; };
  BOOST_TEST(spec_of(with("sequential = true, match_outputs = true")).calibration->match_outputs);
  BOOST_TEST(error_of(with("match_outputs = true")).find("needs sequential = true") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(stages_share_how_they_are_trained_and_how_long) {
  const std::string trained = head + "[data]\ndistillation = { path = \"t.txt\", window = 32 }\n[distill]\nlosses = { kl = 1.0, ce = 0.5 }\nlr = 0.1\n";
  const auto spec = spec_of(trained + "tokens = 100\n[[stage]]\ndistill = {}\n[[stage]]\ndistill = { steps = 7, losses = { ce = 1.0 } }\n"
                                      "[[stage]]\ndistill = { lr = 0.2 }\n[[stage]]\ndistill = {}\n[[stage]]\nlayers = [\"wte\"]\ndecompose = { kind = \"svd\", keep = 0.5 }\n");
  BOOST_TEST_REQUIRE(spec.stages.size() == 5u);
  for (const std::size_t i : {0u, 2u, 3u}) BOOST_TEST(spec.stages[i].distill->tokens.value() == 34);  // a third, rounded up
  BOOST_TEST(spec.stages[1].distill->steps.value() == 7);
  BOOST_TEST(!spec.stages[1].distill->tokens.has_value());
  BOOST_TEST(spec.stages[0].distill->rate == 0.1);
  BOOST_TEST(spec.stages[2].distill->rate == 0.2);
  BOOST_TEST(spec.stages[0].distill->losses.needs_teacher());
  BOOST_TEST(!spec.stages[1].distill->losses.needs_teacher());
  BOOST_TEST(!spec.stages[4].distill.has_value());
  BOOST_TEST(!config::value_at(spec.resolved, "distill"));
  const auto half = spec_of(trained + "epochs = 1\n[[stage]]\ndistill = {}\n[[stage]]\ndistill = {}\n");
  BOOST_TEST(half.stages[1].distill->epochs.value() == 0.5);
  BOOST_TEST(error_of(trained + "steps = 5\n[[stage]]\ndistill = {}\n").find("f.toml:10:1: distill.steps: of all stages together there are tokens or epochs") != std::string::npos);
  BOOST_TEST(error_of(trained + "tokens = 0\n[[stage]]\ndistill = {}\n").find("distill.tokens: 0, expected a number above 0") != std::string::npos);
  BOOST_TEST(error_of(trained + "tokens = \"all\"\n[[stage]]\ndistill = {}\n").find("expected a number above 0") != std::string::npos);
  BOOST_TEST(error_of(trained + "tokens = 100\nrate = 2\n[[stage]]\ndistill = {}\n").find("f.toml:11:1") != std::string::npos);
  BOOST_TEST(error_of(head + "distill = 3\n").find("distill") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(identity_ignores_names_and_paths_and_nothing_that_changes_a_result) {
  const std::string body = calibration + stage + "decompose = { kind = \"whitened-svd\", keep = 0.5 }\n";
  const auto identity = [](const std::string& toml) { return identity_of(spec_of(toml).resolved); };
  const std::string base = identity(head + body);
  const auto replaced = [&](std::string text, const std::string& from, const std::string& to) {
    BOOST_TEST_REQUIRE(text.find(from) != std::string::npos);
    return text.replace(text.find(from), from.size(), to);
  };
  const std::string whole = head + body;
  BOOST_TEST(identity(replaced(whole, "\"e\"", "\"other\"")) == base);
  BOOST_TEST(identity(replaced(whole, "\"m\"", "\"/moved/m\"")) == base);
  BOOST_TEST(identity(replaced(whole, "\"e\"\n", "\"e\" # a comment\nseed = 0\nprecision = \"fp32\"\n")) == base);
  for (const auto& [from, to] : {std::pair{"tokens = 2048", "tokens = 4096"},
                                 {"window = 64", "window = 32"},
                                 {"keep = 0.5", "keep = 0.4"},
                                 {"whitened-svd\", ", "whitened-svd\", damping = 0.5, "},
                                 {"\"wte\"", "\"lm_head\""},
                                 {"\"e\"\n", "\"e\"\nseed = 1\n"},
                                 {"\"e\"\n", "\"e\"\nprecision = \"bf16\"\n"},
                                 {"\"m\"\n", "\"m\"\nhead = \"untied\"\n"}}) {
    BOOST_TEST_CONTEXT(to) { BOOST_TEST(identity(replaced(whole, from, to)) != base); }
  }
}

BOOST_AUTO_TEST_CASE(identity_is_the_same_whether_something_was_written_or_included) {
  const std::string body = calibration + stage + "decompose = { kind = \"whitened-svd\", keep = 0.5 }\n";
  const std::map<std::string, std::string> files{{"x/e.toml", "include = \"../bases/b.toml\"\n[model]\npath = \"m\"\n[experiment]\nname = \"e\"\n"},
                                                 {"bases/b.toml", "[model]\npath = \"other\"\n" + body}};
  const auto included = ExperimentSpec::read(config::read_toml_file("x/e.toml", [&](const std::string& path) { return files.at(path); }), "/base");
  const auto written = spec_of(head + body);
  BOOST_TEST(config::to_toml(included.resolved) == config::to_toml(written.resolved));
  BOOST_TEST(identity_of(included.resolved) == identity_of(written.resolved));
}

BOOST_AUTO_TEST_CASE(variables_of_the_environment_stand_in_paths_and_missing_ones_are_named) {
  setenv("KRONLAB_TEST_FOLDER", "/data", 1);
  BOOST_TEST(spec_of("[experiment]\nname = \"e\"\n[model]\npath = \"$KRONLAB_TEST_FOLDER/m\"").model.path == "/data/m");
  BOOST_TEST(spec_of("[experiment]\nname = \"e\"\n[model]\npath = \"${KRONLAB_TEST_FOLDER}x\"").model.path == "/datax");
  BOOST_TEST(error_of("[experiment]\nname = \"e\"\n[model]\npath = \"$KRONLAB_NOT_THERE/m\"") ==
             "f.toml:4:1: model.path: '$KRONLAB_NOT_THERE/m': the environment has no variable KRONLAB_NOT_THERE");
  BOOST_CHECK_THROW(spec_of("[experiment]\nname = \"e\"\n[model]\npath = \"$\""), ConfigError);
  BOOST_CHECK_THROW(spec_of("[experiment]\nname = \"e\"\n[model]\npath = \"${KRONLAB_TEST_FOLDER\""), ConfigError);
}

BOOST_AUTO_TEST_CASE(mistakes_are_errors_with_their_place) {
  BOOST_TEST(error_of("[experiment]\nname = \"e\"").find("model: is missing") != std::string::npos);
  BOOST_TEST(error_of(head + "[modell]\n").find("unknown key 'modell' (did you mean 'model'?)") != std::string::npos);
  BOOST_TEST(error_of(head + stage + "decompose = { kind = \"kronecker\", rnak = 1, right_rows = 1, right_cols = 2 }")
                 .find("unknown key 'stage.0.decompose.rnak'") != std::string::npos);
  BOOST_TEST(error_of(head + stage + "decompose = { kind = \"kroneker\" }").find("did you mean 'kronecker'") !=
             std::string::npos);
  BOOST_TEST(
      error_of(head + stage + "decompose = { kind = \"kronecker\", left_rows = 1 }").find("left_cols or right_cols") !=
      std::string::npos);
  BOOST_TEST(error_of(head + stage + "decompose = { kind = \"svd\", keep = 0.5, truncation = 3 }")
                 .find("either truncation or keep") != std::string::npos);
  BOOST_TEST(
      error_of(head + stage + "decompose = { kind = \"whitened-svd\", keep = 0.5 }").find("give data.calibration") !=
      std::string::npos);
  BOOST_TEST(error_of(head + stage + "decompose = { kind = \"svd\", keep = 0.5 }\npermute = { kind = \"anealing\" }")
                 .find("known: alternating") != std::string::npos);
  BOOST_TEST(error_of(head + "[[evaluate]]\ndataset = { path = \"t\" }\nprotocol = { window = 8, stride = 9 }")
                 .find("expected 1 to 8") != std::string::npos);
  BOOST_TEST(error_of(head + "[data]\ncalibration = { path = \"c\", tokens = 10, window = 64 }")
                 .find("fewer than one window") != std::string::npos);
  BOOST_TEST(error_of("[experiment]\nname = \"\"\n[model]\npath = \"m\"").find("is empty") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_distillation_is_read_and_its_mistakes_are_errors_with_their_place) {
  const std::string text = "[data]\ndistillation = { path = [\"a\", \"b\"], weights = [1.0, 3.0], window = 64, holdout = 4 }\n";
  const auto with = [&](const std::string& keys) { return head + text + "[[stage]]\n[stage.distill]\n" + keys; };
  const std::string good = "steps = 10\nlr = 1e-3\nlosses = { kl = 1.0 }\nbatch_tokens = 512\n";
  const auto spec = spec_of(with(good + "blocks = [[1, 2]]\noptimizer = { group = [{ parameters = [\"*.bias\"], rate_factor = 2.0 }] }"));
  BOOST_TEST(spec.stages[0].parts.empty());
  BOOST_TEST(spec.stages[0].distill->trainer.num_micro_batches == 2);
  BOOST_TEST(spec.needs_dense_teacher());
  const auto again = ExperimentSpec::read(config::parse_toml(config::to_toml(spec.resolved), "again.toml"), "/elsewhere");
  BOOST_TEST(config::to_text(again.resolved) == config::to_text(spec.resolved));
  const auto error_with = [&](const std::string& from, const std::string& to) {
    std::string keys = good;
    return error_of(with(keys.replace(keys.find(from), from.size(), to)));
  };
  for (const auto& [from, to, expected] : {std::tuple{"kl = 1.0", "kl = -1.0", "stage.0.distill.losses.kl: is -1, expected at least 0"},
                                           {"kl = 1.0", "kl = 0.0, ce = 0", "every weight is 0"},
                                           {"kl = 1.0", "kll = 1.0, ce = 1.0", "unknown key 'stage.0.distill.losses.kll'"},
                                           {"steps = 10", "", "exactly one of steps, epochs, tokens"},
                                           {"steps = 10", "steps = 10\ntokens = 5", "exactly one of steps, epochs, tokens"},
                                           {"512", "500", "500 is not a multiple of micro_batch (4) x data.distillation.window (64) = 256 tokens"},
                                           {"lr = 1e-3", "lr = 1e-3\npatience = 3", "needs validate_every"},
                                           {"lr = 1e-3", "lr = -1.0", "expected at least 0"},
                                           {"lr = 1e-3", "lr = 1e-3\nblocks = [[1, 2, 3]]", "a list of 3, expected an array of pairs of integers"},
                                           {"lr = 1e-3", "lr = 1e-3\ntemperature = 0.0", "temperature"},
                                           {"lr = 1e-3", "lr = 1e-3\nschedule = { kind = \"cosin\" }", "constant, linear, cosine, wsd"}}) {
    BOOST_TEST_CONTEXT(to) {
      const auto found = error_with(from, to);
      BOOST_TEST(found.find(expected) != std::string::npos, found);
      BOOST_TEST(found.find("f.toml:") == 0u, found);
    }
  }
  BOOST_TEST(error_of(head + "[[stage]]\ndistill = { steps = 1, lr = 0.1, losses = { ce = 1.0 } }").find("give data.distillation") != std::string::npos);
  BOOST_TEST(error_of(head + "[data]\ndistillation = { path = \"a\", weights = [1.0, 2.0] }").find("2 weights for 1 files") != std::string::npos);
  BOOST_TEST(error_of(head + "[student]\ninit = \"random\"\nblocks = [0]\n").find("student.blocks") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(how_a_training_is_computed_is_no_part_of_its_identity) {
  const auto identity = [](const std::string& more) {
    return identity_of(spec_of(head + "[data]\ndistillation = { path = \"a\" }\n[[stage]]\n[stage.distill]\nsteps = 1\nlr = 0.1\nlosses = { ce = 1.0 }\n" + more).resolved);
  };
  for (const char* same : {"recompute = true", "shard_optimizer = false", "checkpoint = { every_steps = 3, keep = 4 }"}) BOOST_TEST(identity(same) == identity(""));
  for (const char* other : {"temperature = 2.0", "train = [\"*\"]", "lr_unit = \"rms\"", "optimizer = { beta2 = 0.9 }", "max_skipped = 1"}) BOOST_TEST(identity(other) != identity(""));
}

BOOST_AUTO_TEST_SUITE_END()
