#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "framework/storage/array_file.hpp"
#include "framework/storage/run_reader.hpp"
#include "tests/analysis/report_fixture.hpp"

using namespace kronlab;
using namespace kronlab::storage;
using namespace kronlab::testing;
using Json = nlohmann::json;

BOOST_AUTO_TEST_SUITE(report)

BOOST_AUTO_TEST_CASE(list_shows_each_run_with_its_state_and_result) {
  const Store store;
  const std::string first = finished_run(store.path, labelled("svd", "1"), 31.5);
  const std::string second = [&] {
    auto run = RunStore::create(store.path, sample_description("never ran"));
    run.set_state(RunState::failed, "no such model");
    return run.id();
  }();
  std::filesystem::create_directories(store.path + "/runs/broken");
  const Output text = store.report("list");
  BOOST_TEST(text.exit_code == 0);
  for (const auto& words : {first, second, std::string("perplexity 31.5 on prose"), std::string("failed"),
                            std::string("12 s"), std::string("no run.sqlite")}) {
    BOOST_TEST(text.has(words));
  }
  const Output json_text = store.report("list --json");
  const Json json = Json::parse(json_text.out);
  BOOST_REQUIRE(json["runs"].size() == 3u);
  BOOST_TEST(json["runs"][0]["id"] == first);
  BOOST_TEST(json["runs"][0]["headline"]["value"] == 31.5);
  BOOST_TEST(json["runs"][0]["headline"]["standard_error"] == 0.25);
  BOOST_TEST(json["runs"][0]["seconds"] == 11.5);
  BOOST_TEST(json["runs"][1]["reason"] == "no such model");
  BOOST_TEST(json["runs"][1]["headline"].is_null());
  BOOST_TEST(json["runs"][2]["state"] == "broken");
}

BOOST_AUTO_TEST_CASE(list_shows_the_runs_that_filters_leave_with_an_index_and_without) {
  const Store store;
  const std::string first = finished_run(store.path, labelled("svd", "1"), 31.5), second = finished_run(store.path, labelled("kronecker", "4"), 30.5);
  const auto listed = [&](const std::string& filters) {
    std::vector<std::string> ids;
    const Json json = Json::parse(store.report("list --json " + filters).out);
    for (const auto& run : json["runs"]) ids.push_back(run["id"]);
    return ids;
  };
  for (int round = 0; round < 2; ++round) {
    BOOST_TEST((listed("--where \"perplexity < 31\"") == std::vector{second}));
    BOOST_TEST((listed("--where \"parameter(stage.0.decompose.num_terms) = 1\"") == std::vector{first}));
    BOOST_TEST((listed("--state done --method kronecker --since 2020-01-01") == std::vector{first, second}));
    BOOST_TEST(listed("--state failed").empty());
    BOOST_TEST(listed("--method gptq").empty());
    BOOST_TEST(listed("--since 2999").empty());
    const Output index = store.report("index");
    BOOST_TEST(index.exit_code == 0);
    BOOST_TEST(index.has("2 runs"));
  }
  BOOST_TEST(store.report("list --where nonsense").exit_code == 2);
  BOOST_TEST(store.report("list --where nonsense").has("no such column"));
  BOOST_TEST(store.report("list --state asleep").exit_code == 2);
  BOOST_TEST(Json::parse(store.report("index --from-nothing --json").out)["read"] == 2);
}

BOOST_AUTO_TEST_CASE(list_of_an_empty_store_is_no_error_and_of_none_is_one) {
  const Store store;
  BOOST_TEST(store.report("list").exit_code == 1);
  BOOST_TEST(store.report("list").has("no store"));
  std::filesystem::create_directories(store.path + "/runs");
  BOOST_TEST(store.report("list").exit_code == 0);
  BOOST_TEST(store.report("list").has("no runs"));
  BOOST_TEST(Json::parse(store.report("list --json").out)["runs"].empty());
}

BOOST_AUTO_TEST_CASE(show_tells_everything_of_a_run) {
  const Store store;
  const std::string id = finished_run(store.path, labelled("kronecker", "4"), 31.5);
  const Output text = store.report("show " + id);
  BOOST_TEST(text.exit_code == 0);
  for (const char* words :
       {"Does it work?", "arXiv:2401.16367", "stage.0.decompose.num_terms  4", "layers.0.mlp.up_proj",
        "permuted(kronecker)", "3072 x 768", "no better swap after 12 sweeps", "eval/perplexity",
        "400,000,000 B (400.0 MB)", "134,515,008", "source.commit", "name = \"Half Size: MLPs!\"", "config.toml",
        "configuration"}) {
    BOOST_TEST(text.has(words));
  }
  const Json json = Json::parse(store.report("show --json " + id).out);
  BOOST_TEST(json["metrics"].size() == 6u);
  BOOST_TEST(json["layers"].size() == 2u);
  BOOST_TEST(json["layers"][1]["weighted_error"].is_null());
  BOOST_TEST(json["stages"].size() == 2u);
  BOOST_TEST(json["artifacts"][0]["path"] == "config.toml");
  BOOST_TEST(json["varied"]["stage.0.decompose.num_terms"] == "4");
  BOOST_TEST(json["provenance"]["execution.ranks"] == "2");
  BOOST_TEST(json["config_toml"] == sample_description().config_toml);
}

BOOST_AUTO_TEST_CASE(a_run_is_found_by_id_beginning_end_or_path) {
  const Store store;
  auto other = labelled("b", "2");
  other.name = "another";
  const std::string first = finished_run(store.path, labelled("a", "1"), 30.0);
  const std::string second = finished_run(store.path, other, 31.0);
  const auto found = [&](const std::string& name) {
    const Output output = store.report("show --json " + name);
    return output.exit_code == 0 ? Json::parse(output.out)["id"].get<std::string>() : output.err;
  };
  BOOST_TEST(found(first) == first);
  BOOST_TEST(found("half-size-mlps") == first);
  BOOST_TEST(found("another") == second);
  BOOST_TEST(found(second.substr(0, second.size() - 1)) == second);
  BOOST_TEST(found(store.path + "/runs/" + second) == second);
  BOOST_TEST(found(store.path + "/runs/" + second + "/") == second);
  const Output ambiguous = store.report("show 2");
  BOOST_TEST(ambiguous.exit_code == 2);
  BOOST_TEST(ambiguous.has("any of 2 runs: " + first));
  const Output missing = store.report("show nothing-like-it");
  BOOST_TEST(missing.exit_code == 2);
  BOOST_TEST(missing.has("no run 'nothing-like-it'"));
  BOOST_TEST(store.report("show " + store.path).exit_code == 1);
}

BOOST_AUTO_TEST_CASE(numbers_that_json_does_not_know_are_texts) {
  const Store store;
  const std::string id = [&] {
    auto run = RunStore::create(store.path, sample_description());
    run.record(sample_metric("m/nan", std::nan(""), -1));
    run.record(sample_metric("m/inf", -std::numeric_limits<double>::infinity(), -1));
    run.set_state(RunState::done);
    return run.id();
  }();
  const Json json = Json::parse(store.report("show --json " + id).out);
  BOOST_TEST(json["metrics"][0]["value"] == "nan");
  BOOST_TEST(json["metrics"][1]["value"] == "-inf");
  BOOST_TEST(store.report("show " + id).exit_code == 0);
  BOOST_TEST(store.report("table").exit_code == 0);
}

BOOST_AUTO_TEST_CASE(plot_draws_a_picture_and_leaves_nothing_else) {
  const Store store;
  finished_run(store.path, labelled("it's a $label_with ^marks", "1"), 40.25);
  finished_run(store.path, labelled("b", "2"), 31.5, other_protocol);
  const std::string picture = store.folder / "picture.png";
  const Output output = store.report("plot --out " + picture);
  BOOST_TEST(output.exit_code == 0, output.err);
  const std::string bytes = read_bytes(picture);
  BOOST_TEST(bytes.starts_with("\x89PNG\r\n"));
  BOOST_TEST(bytes.size() > 5000u);
  for (const auto& entry : std::filesystem::directory_iterator(store.folder.path())) {
    BOOST_TEST(entry.path().extension() != ".tmp", entry.path());
    BOOST_TEST(entry.path().extension() != ".gnuplot", entry.path());
  }
  BOOST_TEST(store.report("plot --out " + (store.folder / "none/picture.png")).exit_code == 1);
  BOOST_TEST(store.report("plot").exit_code == 2);
}

BOOST_AUTO_TEST_CASE(plot_of_searches_draws_what_they_reached) {
  const Store store;
  const std::string id = finished_run(store.path, labelled("searched", "1"), 40.25), picture = store.folder / "picture.png";
  const Output none = store.report("plot --searches --out " + picture);
  BOOST_TEST(none.exit_code == 2);
  BOOST_TEST(none.has("none of the chosen runs has searched for permutations"));
  ArrayFile file((RunReader(store.path + "/runs/" + id).folder() / "arrays.h5").string());
  for (const std::string layer : {"a", "b"}) {
    file.write_vector("stages/0/layers/" + layer + "/search/evaluations", std::vector<Index>{0, 100, 5000}, {});
    file.write_vector("stages/0/layers/" + layer + "/search/value", std::vector<double>{0.5, 0.7, 0.75}, {});
  }
  file.close();
  BOOST_TEST(store.report("plot --searches --out " + picture).exit_code == 0);
  BOOST_TEST(read_bytes(picture).starts_with("\x89PNG\r\n"));
}

BOOST_AUTO_TEST_CASE(plot_without_a_perplexity_says_so) {
  const Store store;
  RunStore::create(store.path, sample_description());
  const Output output = store.report("plot --out " + (store.folder / "picture.png"));
  BOOST_TEST(output.exit_code == 2);
  BOOST_TEST(output.has("none of the chosen runs has a finite eval/perplexity"));
}

BOOST_AUTO_TEST_CASE(every_command_has_help_and_refuses_what_it_does_not_know) {
  const Store store;
  for (const char* command : {"", "list", "show", "table", "plot"}) {
    const Output help = store.raw_report(std::string(command) + " --help");
    BOOST_TEST(help.exit_code == 0);
    BOOST_TEST(help.out.find("--help") != std::string::npos);
    BOOST_TEST(store.raw_report(std::string(command) + " --no-such-option").exit_code == 2);
  }
  BOOST_TEST(store.raw_report("").exit_code == 2);
  BOOST_TEST(store.raw_report("frobnicate").exit_code == 2);
}

BOOST_AUTO_TEST_CASE(the_store_comes_from_the_environment) {
  const Store store;
  const std::string id = finished_run(store.path, labelled("a", "1"), 30.0);
  ::setenv("KRONLAB_STORE", store.path.c_str(), 1);
  const Output output = store.raw_report("list");
  ::unsetenv("KRONLAB_STORE");
  BOOST_TEST(output.has(id));
}

BOOST_AUTO_TEST_CASE(compare_shows_settings_results_and_a_paired_test) {
  const Store store;
  const auto run_of = [&](const std::string& label, const std::string& terms, const std::vector<double>& losses, const std::string& hash = "a") {
    auto description = labelled(label, terms);
    description.config_toml = "[experiment]\nname = \"x\"\n[[stage]]\ndecompose = { kind = \"kronecker\", num_terms = " + terms + " }\n";
    const std::string id = finished_run(store.path, description, 31.5);
    auto run = RunStore::open(store.path, id);
    EvaluationRecord evaluation{0, 0, "prose", short_protocol, hash, {}};
    for (const double loss : losses) evaluation.windows.push_back({10, 100 + loss});
    run.record_evaluation(evaluation);
    evaluation.step = 0, evaluation.protocol = other_protocol;
    if (terms == "1") run.record_evaluation(evaluation);
    run.set_state(RunState::done);
    return id;
  };
  const std::string a = run_of("one", "1", {1, 2, 3}), b = run_of("four", "4", {3, 5, 7}), c = run_of("elsewhere", "4", {1, 1, 1}, "b");
  const Output text = store.report("compare " + a + " " + b + " " + c);
  BOOST_TEST(text.exit_code == 0);
  // differences 2, 3, 4 in 10 tokens each: 0.3 ± 0.0577, t = 3 sqrt(3), p = 1 - t / sqrt(2 + t^2)
  for (const char* words : {"stage.0.decompose.num_terms", "+0.3000 ± 0.0577", "+34.99 %", "5.2", "0.035", "[3] - [1]", "the texts differ"}) {
    BOOST_TEST(text.has(words));
  }
  const Json json = Json::parse(store.report("compare --json " + a + " " + b + " " + c).out);
  BOOST_REQUIRE(json["settings"].size() == 1u);
  BOOST_TEST((json["settings"][0]["values"] == Json{"1", "4", "4"}));
  BOOST_REQUIRE(json["paired_tests"].size() == 2u);  // the other protocol is of one run only
  BOOST_TEST(json["paired_tests"][0]["windows"] == 3);
  BOOST_TEST(json["paired_tests"][0]["difference"].get<double>() == 0.3, boost::test_tools::tolerance(1e-12));
  BOOST_TEST(json["paired_tests"][1]["problem"] == "the texts differ");
  BOOST_TEST(store.report("compare " + a + " " + a).has("The configurations are the same"));
  BOOST_TEST(store.report("compare " + a).exit_code == 2);
}

BOOST_AUTO_TEST_SUITE_END()
