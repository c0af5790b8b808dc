// Tables with the way back from each number: groups over seeds, marks of paired tests, published values, formats.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "framework/base/hash.hpp"
#include "framework/storage/run_reader.hpp"
#include "tests/analysis/report_fixture.hpp"

using namespace kronlab;
using namespace kronlab::storage;
using namespace kronlab::testing;
using Json = nlohmann::json;

namespace {

struct Seeded {
  std::string label, terms, seed;
  double perplexity = 30.0;
  std::vector<double> losses;  ///< of windows of 10 tokens
  std::string text = "aaaa1111";
};

/// A finished run whose configuration says its terms and its seed.
std::string seeded_run(const std::string& store, const Seeded& run) {
  auto description = sample_description(run.label + " seed=" + run.seed);
  description.parameters = {{"stage.0.decompose.num_terms", run.terms}, {"experiment.seed", run.seed}};
  description.config_toml = fmt::format("[experiment]\nname = \"x\"\nseed = {}\n[[stage]]\ndecompose = {{ kind = \"kronecker\", num_terms = {} }}\n", run.seed, run.terms);
  const std::string id = finished_run(store, description, run.perplexity);
  auto again = RunStore::open(store, id);
  EvaluationRecord evaluation{0, 0, "prose", short_protocol, run.text, {}};
  for (const double loss : run.losses) evaluation.windows.push_back({10, loss});
  if (!run.losses.empty()) again.record_evaluation(evaluation);
  again.set_state(RunState::done);
  return id;
}

Json cell_of(const Json& table, const std::string& label, const std::string& header) {
  std::size_t c = 0;
  while (c < table["columns"].size() && table["columns"][c]["header"] != header) ++c;
  BOOST_TEST_REQUIRE(c < table["columns"].size(), header);
  for (const auto& row : table["rows"]) {
    if (row["label"] == label) return row["cells"][c];
  }
  BOOST_FAIL("no row " << label);
  return {};
}

struct TableStore : Store {
  Json table(const std::string& arguments = "") const {
    const Output output = report("table --json " + arguments);
    BOOST_TEST_REQUIRE(output.exit_code == 0, output.err);
    return Json::parse(output.out);
  }
  std::string file(const std::string& name, const std::string& text) const {
    write_file_atomically(folder / name, text);
    return folder / name;
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(report_tables)

BOOST_AUTO_TEST_CASE(a_table_has_a_row_per_run_and_one_for_the_dense_model) {
  const TableStore store;
  finished_run(store.path, labelled("kronecker", "1"), 40.25);
  finished_run(store.path, labelled("kronecker", "2"), 31.5);
  const Output text = store.report("table");
  BOOST_TEST(text.exit_code == 0);
  for (const char* words : {"dense tiny", "20.50 ± 0.25", "40.25 ± 0.25", "31.50 ± 0.25 *", "kronecker num_terms=2", "134,515,008", "100,000,000", "stored [MB]",
                            "400.0", "0.125", "time [s]", "11.5"}) {
    BOOST_TEST(text.has(words));
  }
  BOOST_TEST(text.has("perplexity: prose, " + short_protocol));
  const Json table = store.table();
  BOOST_REQUIRE(table["rows"].size() == 3u);
  BOOST_TEST(table["rows"][0]["dense"] == true);
  BOOST_TEST(cell_of(table, "kronecker num_terms=2", "perplexity")["value"] == 31.5);
  BOOST_TEST(cell_of(table, "kronecker num_terms=2", "rel. error")["value"] == 0.5);
  BOOST_TEST(cell_of(table, "kronecker num_terms=2", "weighted error")["value"] == 0.125);
  BOOST_TEST(cell_of(table, "kronecker num_terms=2", "stage.0.decompose.num_terms")["text"] == "2");
}

BOOST_AUTO_TEST_CASE(a_table_shows_every_measurement_of_a_run_when_asked_and_long_values_short) {
  const TableStore store;
  const std::string id = finished_run(store.path, labelled("healed", std::string(100, 'x')), 40.0);
  auto run = RunStore::open(store.path, id);
  run.stage_started(1, "next");
  Metric metric = sample_metric("eval/perplexity", 35.0, 1);
  metric.dataset = "prose", metric.protocol = short_protocol, metric.step = 0;
  run.record(metric);
  metric.value = 30.0, metric.step = 100;
  run.record(metric);
  run.stage_finished(1, 1.0);
  run.flush();
  const Json table = store.table("--all");
  BOOST_REQUIRE(table["rows"].size() == 4u);
  BOOST_TEST(cell_of(table, "healed, stage 0 compressed", "perplexity")["value"] == 40.0);
  BOOST_TEST(cell_of(table, "healed, stage 1 compressed", "perplexity")["value"] == 35.0);
  BOOST_TEST(cell_of(table, "healed", "perplexity")["value"] == 30.0);
  BOOST_TEST(store.table()["rows"].size() == 2u);
  BOOST_TEST(store.report("table").has(std::string(37, 'x') + "..."));
  BOOST_TEST(store.report("table --format csv").has(std::string(100, 'x')));
}

BOOST_AUTO_TEST_CASE(a_student_that_is_yet_to_be_trained_is_no_dense_model) {
  const TableStore store;
  finished_run(store.path, sample_description("whole"), 40.0, short_protocol);
  BOOST_TEST(store.report("table").has("dense tiny"));
  const TableStore cut;
  auto description = sample_description("cut");
  description.provenance.emplace_back(storage::student_start, "2 blocks of the model");
  finished_run(cut.path, description, 40.0, short_protocol);
  const Output text = cut.report("table");
  BOOST_TEST(text.has("cut"));
  BOOST_TEST(!text.has("dense tiny"));
}

BOOST_AUTO_TEST_CASE(speed_is_shown_beside_the_dense_models_and_a_smaller_and_slower_model_is_called_so) {
  const TableStore store;
  const std::string id = finished_run(store.path, labelled("slow", "1"), 40.0);
  auto run = RunStore::open(store.path, id);
  const auto add = [&](const std::string& name, double value, const std::string& unit, Index stage, const std::string& protocol, const std::string& layer = "") {
    Metric metric = sample_metric(name, value, stage);
    metric.unit = unit, metric.protocol = protocol, metric.layer = layer;
    run.record(metric);
  };
  add("size/stored_bytes", 5e8, "B", -1, "");
  for (const char* protocol : {"forward tokens=64", "generate tokens=1"}) {
    add("speed/ratio", 1.0, "1", -1, protocol);
    add("speed/ratio", protocol[0] == 'f' ? 0.833 : 1.5, "1", 0, protocol);
    add("speed/seconds", 2e-3, "s", 0, protocol, "layers.0.mlp.up_proj");
    add("speed/dense_seconds", 1.5e-3, "s", 0, protocol, "layers.0.mlp.up_proj");
  }
  run.set_state(RunState::done);
  const Output text = store.report("table");
  for (const char* words : {"speed [1]", "speed [2]", "1.00x", "0.83x", "1.50x", "speed [1]: forward tokens=64",
                            "slow: 80.0 % of the dense model's bytes, but slower: 0.83x (forward tokens=64)"}) {
    BOOST_TEST(text.has(words));
  }
  const Json table = store.table();
  BOOST_TEST(cell_of(table, "slow", "speed [1]")["value"] == 0.833);
  BOOST_TEST(table["notes"].size() == 1u);
  const Output shown = store.report("show " + id);
  for (const char* words : {"size and speed", "but slower: 0.83x", "0.75x", "speed [2]: of the product beside a dense one, generate tokens=1"}) BOOST_TEST(shown.has(words));
  BOOST_TEST(shown.out.find("speed/dense_seconds") == std::string::npos);
  finished_run(store.path, labelled("before", "2"), 41.0);  // of a store from before speeds were measured
  BOOST_TEST(cell_of(store.table(), "before", "speed [1]").is_null());
}

BOOST_AUTO_TEST_CASE(two_protocols_never_share_a_column) {
  const TableStore store;
  finished_run(store.path, labelled("long windows", "1"), 40.25, short_protocol);
  finished_run(store.path, labelled("short windows", "1"), 55.5, other_protocol);
  const Output csv = store.report("table --format csv");
  BOOST_TEST(csv.has("perplexity [1] (prose, " + short_protocol + ")"));
  BOOST_TEST(csv.has("perplexity [2] (prose, " + other_protocol + ")"));
  const Json table = store.table();
  for (const auto& row : table["rows"]) {
    const std::string label = row["label"];
    BOOST_TEST(cell_of(table, label, "perplexity [1]").is_null() != cell_of(table, label, "perplexity [2]").is_null());
  }
  const Output text = store.report("table");
  BOOST_TEST(text.has("perplexity [1]: prose, " + short_protocol));
  BOOST_TEST(text.has("perplexity [2]: prose, " + other_protocol));
}

BOOST_AUTO_TEST_CASE(csv_has_every_digit_and_as_many_cells_in_each_row) {
  const TableStore store;
  const std::string id = finished_run(store.path, labelled("a \"quoted\", label", "1"), 31.123456789012345);
  const Output csv = store.report("table --format csv");
  BOOST_TEST(csv.exit_code == 0);
  BOOST_TEST(csv.has("31.123456789012344"));
  BOOST_TEST(csv.has("\"a \"\"quoted\"\", label\""));
  BOOST_TEST(csv.out.starts_with("run ids,label,state,"));
  BOOST_TEST(csv.has(",stage.0.decompose.num_terms\n"));
  BOOST_TEST(csv.has(id + ","));
  const Output markdown = store.report("table --format markdown");
  BOOST_TEST(markdown.out.starts_with("| label"));
  BOOST_TEST(markdown.has("| ---"));
  BOOST_TEST(store.report("table --format excel").exit_code == 2);
}

BOOST_AUTO_TEST_CASE(a_table_takes_chosen_runs_or_those_of_an_experiment) {
  const TableStore store;
  auto other = labelled("b", "2");
  other.name = "another";
  const std::string first = finished_run(store.path, labelled("a", "1"), 30.0);
  finished_run(store.path, other, 31.0);
  BOOST_TEST(store.table()["rows"].size() == 3u);
  BOOST_TEST(store.table(first)["rows"].size() == 2u);
  BOOST_TEST(store.table("--experiment another")["rows"].size() == 2u);
  const Output none = store.report("table --experiment nothing");
  BOOST_TEST(none.exit_code == 2);
  BOOST_TEST(none.has("no run of experiment 'nothing'"));
  std::filesystem::create_directories(store.path + "/runs/broken");
  const Output with_broken = store.report("table --json");
  BOOST_TEST(with_broken.exit_code == 0);
  BOOST_TEST(with_broken.err.find("left out broken") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(runs_that_differ_in_their_seed_share_a_row_with_mean_and_deviation_or_interval) {
  const TableStore store;
  const std::vector<std::string> ids = {seeded_run(store.path, {"four", "4", "0", 30.0, {}}), seeded_run(store.path, {"four", "4", "1", 31.0, {}}),
                                        seeded_run(store.path, {"four", "4", "2", 35.0, {}})};
  seeded_run(store.path, {"one", "1", "0", 50.0, {}});
  const Json table = store.table();
  BOOST_REQUIRE(table["rows"].size() == 3u);  // dense, four, one
  const Json cell = cell_of(table, "four", "perplexity");
  BOOST_TEST(cell["value"].get<double>() == 32.0, boost::test_tools::tolerance(1e-14));
  BOOST_TEST(cell["error"].get<double>() == std::sqrt((4.0 + 1.0 + 9.0) / 2), boost::test_tools::tolerance(1e-14));
  BOOST_TEST(cell["error_is"] == "standard deviation");
  BOOST_REQUIRE(cell["sources"].size() == 3u);
  for (std::size_t i = 0; i < 3; ++i) BOOST_TEST(cell["sources"][i]["run"] == ids[i]);
  BOOST_TEST(cell_of(table, "four", "runs")["value"] == 3);
  BOOST_TEST(cell_of(table, "one seed=0", "perplexity")["error_is"] == "standard error");
  // Student's t for 2 degrees of freedom: (2 p - 1) / sqrt(2 p (1 - p)) at p = 97.5 %
  const Json interval = cell_of(store.table("--spread interval"), "four", "perplexity");
  BOOST_TEST(interval["error"].get<double>() == 0.95 / std::sqrt(2 * 0.975 * 0.025) * std::sqrt(7.0 / 3), boost::test_tools::tolerance(1e-12));
  BOOST_TEST(store.table("--rows run")["rows"].size() == 5u);
  const Output text = store.report("table");
  BOOST_TEST(text.has("32.0 ± 2.6"));
  BOOST_TEST(text.has("± of several runs: standard deviation"));
}

BOOST_AUTO_TEST_CASE(a_second_run_of_one_seed_does_not_count_twice) {
  const TableStore store;
  seeded_run(store.path, {"four", "4", "0", 30.0, {}});
  seeded_run(store.path, {"four", "4", "0", 30.0, {}});
  seeded_run(store.path, {"four", "4", "1", 32.0, {}});
  const Json table = store.table();
  BOOST_REQUIRE(table["rows"].size() == 3u);
  BOOST_TEST(table["rows"][1]["runs"].size() == 2u);
  BOOST_TEST(table["rows"][2]["runs"].size() == 1u);
}

BOOST_AUTO_TEST_CASE(the_best_is_bold_and_what_a_paired_test_does_not_tell_from_it_is_marked) {
  const TableStore store;
  seeded_run(store.path, {"best", "1", "0", 30.0, {20, 30, 40, 50}});
  seeded_run(store.path, {"near", "2", "0", 30.5, {20.5, 29.8, 40.3, 49.9}});   // differences of both signs
  seeded_run(store.path, {"worse", "3", "0", 33.0, {21, 31.1, 40.9, 51}});       // about 1 in each window
  seeded_run(store.path, {"unknown", "4", "0", 34.0, {}});
  const Json table = store.table();
  const auto mark = [&](const std::string& label) { return cell_of(table, label + " seed=0", "perplexity").value("mark", "none"); };
  BOOST_TEST(mark("best") == "best");
  BOOST_TEST(mark("near") == "tied");
  BOOST_TEST(mark("worse") == "none");
  BOOST_TEST(cell_of(table, "worse seed=0", "perplexity")["p"].get<double>() < 1e-3);
  BOOST_TEST(mark("unknown") == "untested");
  const Output markdown = store.report("table --format markdown");
  BOOST_TEST(markdown.has("**30.00 ± 0.25**"));
  BOOST_TEST(markdown.has("30.50 ± 0.25 ≈"));
  BOOST_TEST(markdown.has("34.00 ± 0.25 ?"));
  BOOST_TEST(!store.table()["rows"][0]["cells"].empty());
  BOOST_TEST(store.report("table --format latex").has("\\textbf{\\boldmath 30.00 $\\pm$ 0.25}"));
  BOOST_TEST(store.report("table --format html").has("<strong>"));
}

BOOST_AUTO_TEST_CASE(a_run_that_is_not_done_is_not_the_best) {
  const TableStore store;
  seeded_run(store.path, {"done", "1", "0", 30.0, {}});
  seeded_run(store.path, {"also", "2", "0", 32.0, {}});
  const std::string id = seeded_run(store.path, {"stopped", "3", "0", 20.0, {}});
  RunStore::open(store.path, id).set_state(RunState::interrupted, "a signal");
  const Json table = store.table();
  BOOST_TEST(cell_of(table, "done seed=0", "perplexity")["mark"] == "best");
  BOOST_TEST(!cell_of(table, "stopped seed=0", "perplexity").contains("mark"));
}

BOOST_AUTO_TEST_CASE(a_specification_says_runs_rows_columns_and_sequence) {
  const TableStore store;
  seeded_run(store.path, {"b", "2", "0", 31.0, {}});
  seeded_run(store.path, {"a", "1", "0", 30.0, {}});
  const std::string spec = store.file("spec.toml", R"(title = "Two runs"
runs = { experiment = "Half Size: MLPs!", where = "perplexity < 100" }
sort = "ppl"
[[column]]
show = "label"
[[column]]
show = "eval/perplexity"
dataset = "prose"
header = "ppl"
digits = 3
[[column]]
show = "varied.stage.0.decompose.num_terms"
header = "terms"
)");
  const Output text = store.report("table " + spec);
  BOOST_TEST(text.exit_code == 0, text.err);
  BOOST_TEST(text.out.starts_with("Two runs\n\nlabel"));
  BOOST_TEST(text.out.find("a seed=0") < text.out.find("b seed=0"));
  BOOST_TEST(text.has("20.5"));
  const Json json = store.table(spec);
  BOOST_TEST(json["columns"].size() == 3u);
  BOOST_TEST(cell_of(json, "b seed=0", "terms")["text"] == "2");
  BOOST_TEST(store.table("--columns label,relative_error")["columns"].size() == 2u);
}

BOOST_AUTO_TEST_CASE(errors_of_a_specification_say_where_and_what_is_known) {
  const TableStore store;
  seeded_run(store.path, {"a", "1", "0", 30.0, {}});
  const auto error_of = [&](const std::string& text) {
    const Output output = store.report("table " + store.file("spec.toml", text));
    BOOST_TEST(output.exit_code == 2);
    return output;
  };
  BOOST_TEST(error_of("titel = \"x\"\n").has("spec.toml:1:1: unknown key 'titel' (did you mean 'title'?)"));
  BOOST_TEST(error_of("[[column]]\nshow = \"lable\"\n").has("spec.toml:1:1: unknown column 'lable' (did you mean 'label'?)"));
  BOOST_TEST(error_of("[[column]]\nshow = \"eval/perplexitty\"\n").has("no run has it; measured: eval/perplexity, size/parameters"));
  BOOST_TEST(error_of("runs = { where = \"perplexity < 0\" }\n").has("no run of the store"));
  BOOST_TEST(error_of("sort = \"loss\"\n").has("sort: no column 'loss'"));
  BOOST_TEST(error_of("[[published]]\nmethod = \"KnGPT2\"\n").has("unknown method 'KnGPT2' (did you mean 'KnGPT-2'?)"));
  BOOST_TEST(error_of("rows = \"seed\"\n").has("configuration, run, measurement, published"));
  BOOST_TEST(store.report("table none.toml").exit_code == 2);
}

BOOST_AUTO_TEST_CASE(two_protocols_or_two_texts_in_a_written_column_are_an_error_that_shows_both) {
  const TableStore store;
  finished_run(store.path, sample_description("long"), 40.0, short_protocol);
  finished_run(store.path, sample_description("short"), 50.0, other_protocol);
  const std::string spec = store.file("spec.toml", "[[column]]\nshow = \"eval/perplexity\"\n");
  const Output protocols = store.report("table " + spec);
  BOOST_TEST(protocols.exit_code == 2);
  BOOST_TEST(protocols.has("two protocols cannot share a column"));
  BOOST_TEST(protocols.has(short_protocol));
  BOOST_TEST(protocols.has(other_protocol));
  const std::string chosen = store.file("chosen.toml", "[[column]]\nshow = \"eval/perplexity\"\nprotocol = \"window=256 \"\n");
  BOOST_TEST(store.report("table " + chosen).exit_code == 0);

  const TableStore texts;
  seeded_run(texts.path, {"one", "1", "0", 30.0, {1, 2, 3}, "aaaa1111"});
  seeded_run(texts.path, {"other", "2", "0", 31.0, {1, 2, 3}, "bbbb2222"});
  const Output both = texts.report("table " + spec);
  BOOST_TEST(both.exit_code == 2);
  BOOST_TEST(both.has("two texts (SHA-256) cannot share a column: 'aaaa1111' and 'bbbb2222'"));
  const Json table = texts.table();  // nobody wrote these columns: one for each text
  BOOST_TEST(cell_of(table, "one seed=0", "perplexity [1]")["value"] == 30.0);
  BOOST_TEST(cell_of(table, "one seed=0", "perplexity [2]").is_null());
  BOOST_TEST(cell_of(table, "other seed=0", "perplexity [2]")["value"] == 31.0);
}

BOOST_AUTO_TEST_CASE(published_numbers_stand_in_columns_of_their_own_with_their_source) {
  const TableStore store;
  seeded_run(store.path, {"a", "1", "0", 30.0, {}});
  const std::string columns = "[[column]]\nshow = \"label\"\n[[column]]\nshow = \"eval/perplexity\"\n";
  const std::string spec = store.file("spec.toml", columns + "[[column]]\nshow = \"published.parameters\"\nheader = \"parameters, published\"\n"
                                                             "[[published]]\nmethod = \"TQCompressedGPT-2\"\nlabel = \"TQCompressed\"\n");
  const Output text = store.report("table " + spec);
  BOOST_TEST(text.exit_code == 0, text.err);
  BOOST_TEST(text.has("[1] arXiv:2401.16367"));
  const Json table = store.table(spec);
  BOOST_TEST(cell_of(table, "TQCompressed", "parameters, published")["value"].get<double>() > 8e7);
  BOOST_TEST(cell_of(table, "TQCompressed", "perplexity").is_null());
  BOOST_TEST(cell_of(table, "a seed=0", "parameters, published").is_null());
}

BOOST_AUTO_TEST_CASE(published_and_measured_stand_beside_each_other_over_their_dense_models) {
  const TableStore store;
  seeded_run(store.path, {"a", "1", "0", 30.0, {}});  // its dense model has 20.5
  const std::string columns = "[[column]]\nshow = \"label\"\n[[column]]\nshow = \"eval/perplexity\"\nheader = \"measured\"\n"
                              "[[column]]\nshow = \"published.perplexity\"\ndataset = \"WikiText-103\"\nprotocol = \"tokenised test text\"\nheader = \"published\"\n";
  const auto ratio = [](const std::string& of) { return "[[column]]\nshow = \"ratio-to-dense\"\nof = [\"" + of + "\"]\nheader = \"" + of + " / dense\"\n"; };
  const std::string difference = "[[column]]\nshow = \"difference\"\nof = [\"measured / dense\", \"published / dense\"]\n";
  const auto row = [](const std::string& label) { return "[[published]]\nmethod = \"KnGPT-2\"\nbeside = \"" + label + "\"\n"; };
  const std::string spec = store.file("spec.toml", columns + ratio("measured") + ratio("published") + difference + row("a seed=0"));
  const Json table = store.table(spec);
  BOOST_TEST(table["rows"].size() == 2u);
  const auto value = [&](const std::string& label, const std::string& header) { return cell_of(table, label, header)["value"].get<double>(); };
  BOOST_TEST(value("a seed=0", "measured") == 30.0);
  BOOST_TEST(value("a seed=0", "published") == 40.97);
  BOOST_TEST(value("a seed=0", "measured / dense") == 30.0 / 20.5);
  BOOST_TEST(value("a seed=0", "published / dense") == 40.97 / 29.16);
  BOOST_TEST(cell_of(table, "a seed=0", "measured / dense")["computed"] == "30 / 20.5, of the dense model");
  BOOST_TEST(value("a seed=0", "difference") == 30.0 / 20.5 - 40.97 / 29.16);
  BOOST_TEST(value("dense tiny", "measured / dense") == 1.0);
  BOOST_TEST(cell_of(table, "dense tiny", "published / dense").is_null());
  BOOST_TEST(store.report("explain " + spec + " 'a seed=0:published / dense'").has("computed from published: 40.97 / 29.16, of the dense model"));

  const auto error_of = [&](const std::string& text) {
    const Output output = store.report("table " + store.file("wrong.toml", text));
    BOOST_TEST(output.exit_code == 2, output.out);
    return output;
  };
  BOOST_TEST(error_of(columns + row("b")).has("published 'KnGPT-2' beside 'b', which is no row"));
  BOOST_TEST(error_of(columns + ratio("measurd") + row("a seed=0")).has("of 'measurd', which is no header (did you mean 'measured'?)"));
  BOOST_TEST(error_of(columns + "[[column]]\nshow = \"difference\"\nof = [\"measured\"]\n" + row("a seed=0")).has("of 1 header(s), expected 2"));
}

BOOST_AUTO_TEST_CASE(latex_and_html_escape_what_they_would_interpret) {
  const TableStore store;
  seeded_run(store.path, {"50 % & <b>_x_</b> $#{}~^\\", "1", "0", 30.0, {}});
  const Output latex = store.report("table --format latex");
  BOOST_TEST(latex.has("50 \\% \\& \\textless{}b\\textgreater{}\\_x\\_\\textless{}/b\\textgreater{} \\$\\#\\{\\}\\textasciitilde{}\\textasciicircum{}\\textbackslash{}"));
  BOOST_TEST(latex.has("\\toprule"));
  BOOST_TEST(std::ranges::count(latex.out, '&') >= 6);
  const Output html = store.report("table --format html");
  BOOST_TEST(html.has("50 % &amp; &lt;b&gt;_x_&lt;/b&gt;"));
  BOOST_TEST(html.out.find("<b>") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(explain_leads_from_a_mean_to_the_records_of_its_runs) {
  const TableStore store;
  const double loss = std::log(30.0) * 10;
  const std::string first = seeded_run(store.path, {"four", "4", "0", 30.0, {loss, loss}});
  const std::string second = seeded_run(store.path, {"four", "4", "1", 32.0, {}});
  const Output mean = store.report("explain four:perplexity");
  BOOST_TEST(mean.exit_code == 0, mean.err);
  for (const std::string& words : {first, second, std::string("mean = (30 + 32) / 2 = 31"), std::string("standard deviation: 1.4142135623730951"),
                                   std::string("mean loss in nat of 2 windows"), std::string("the losses of its windows were not recorded"),
                                   std::string("experiment.seed: 0, 1"), std::string("source.commit: unknown"), std::string("num_terms = 4")}) {
    BOOST_TEST(mean.has(words));
  }
  // What it prints is what the record answers.
  const auto at = mean.out.find("SELECT");
  const std::string query = mean.out.substr(at, mean.out.find('\n', at) - at);
  const int status = std::system(("sqlite3 " + store.path + "/runs/" + first + "/run.sqlite \"" + query + "\" > " + (store.folder / "answer")).c_str());
  BOOST_TEST(status == 0);
  BOOST_TEST(read_bytes(store.folder / "answer") == "30.0|0.25\n");
  BOOST_TEST(store.report("explain 2:rel.").has("layers.1.mlp.up_proj  stage 0  0.75"));
  BOOST_TEST(store.report("explain 2:time").has("stage 0 (mlp): 10 s"));
  BOOST_TEST(store.report("explain five:perplexity").has("row 'five' is not there"));
  BOOST_TEST(store.report("explain four").exit_code == 2);
}

BOOST_AUTO_TEST_CASE(a_marked_table_is_checked_against_its_runs_and_updated) {
  const TableStore store;
  const std::string first = seeded_run(store.path, {"a -- b", "1", "0", 30.0, {}});
  seeded_run(store.path, {"c", "2", "0", 31.0, {}});
  for (const std::string format : {"markdown", "latex", "html"}) {
    const std::string marked = store.report("table --marked --format " + format).out;
    const std::string file = store.file("paper." + format, "before\n" + marked + "after\n");
    const Output good = store.report("check-tables " + file);
    BOOST_TEST(good.exit_code == 0, good.out + good.err);
    BOOST_TEST(good.has("numbers of 2 runs, as recorded"));
    std::string changed = read_bytes(file);
    changed.replace(changed.find("31.00"), 5, "29.00");
    store.file("paper." + format, changed);
    const Output bad = store.report("check-tables " + file);
    BOOST_TEST(bad.exit_code == 1);
    BOOST_TEST(bad.has("paper." + format + ":2: not what its runs recorded"));
    BOOST_TEST(bad.has("29.00"));
    BOOST_TEST(store.report("check-tables --update " + file).exit_code == 0);
    BOOST_TEST(read_bytes(file) == "before\n" + marked + "after\n");
  }
  const std::string file = store.folder / "paper.markdown";
  seeded_run(store.path, {"later", "3", "0", 10.0, {}});  // a run that the table does not name changes nothing
  BOOST_TEST(store.report("check-tables " + file).exit_code == 0);
  std::filesystem::remove_all(store.path + "/runs/" + first);
  const Output gone = store.report("check-tables " + file);
  BOOST_TEST(gone.exit_code == 1);
  BOOST_TEST(gone.has("no run '" + first + "'"));
  BOOST_TEST(store.report("table --marked").exit_code == 2);
  BOOST_TEST(store.report("check-tables " + store.file("none.md", "no table\n")).exit_code == 2);
  BOOST_TEST(store.report("check-tables " + store.file("cut.md", "<!-- kronlab-table {\"format\":\"markdown\",\"runs\":[\"x\"]} -->\n")).has("cut.md:1: a table begins here"));
  BOOST_TEST(store.report("check-tables " + store.file("bad.md", "<!-- kronlab-table {\"format\":7} -->\n<!-- kronlab-table end -->\n")).exit_code == 2);
}

BOOST_AUTO_TEST_CASE(explain_reads_a_table_that_stands_in_a_file) {
  const TableStore store;
  seeded_run(store.path, {"a", "1", "0", 30.0, {}});
  const std::string file = store.file("README.md", store.report("table --marked --format markdown --columns label,relative_error").out);
  seeded_run(store.path, {"b", "2", "0", 31.0, {}});
  const Output output = store.report("explain " + file + " a:error");
  BOOST_TEST(output.exit_code == 0, output.err);
  BOOST_TEST(output.has("shown   0.5"));
  BOOST_TEST(store.report("explain " + file + " b:error").exit_code == 2);
  BOOST_TEST(store.report("explain " + file + " a:error --table 2").has("holds 1 tables"));
}

BOOST_AUTO_TEST_SUITE_END()
