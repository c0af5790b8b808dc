#include <boost/test/unit_test.hpp>
#include <cstdlib>

#include "experiments/pipeline/experiment_spec.hpp"
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
                 .find("known: identity") != std::string::npos);
  BOOST_TEST(error_of(head + "[[evaluate]]\ndataset = { path = \"t\" }\nprotocol = { window = 8, stride = 9 }")
                 .find("expected 1 to 8") != std::string::npos);
  BOOST_TEST(error_of(head + "[data]\ncalibration = { path = \"c\", tokens = 10, window = 64 }")
                 .find("fewer than one window") != std::string::npos);
  BOOST_TEST(error_of("[experiment]\nname = \"\"\n[model]\npath = \"m\"").find("is empty") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
