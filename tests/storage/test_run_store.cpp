#include <SQLiteCpp/SQLiteCpp.h>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <regex>
#include <set>

#include "framework/base/hash.hpp"
#include "framework/storage/run_index.hpp"
#include "framework/storage/run_reader.hpp"
#include "framework/storage/run_store.hpp"
#include "tests/storage/bytes.hpp"
#include "tests/storage/sample_run.hpp"
#include "tests/support/test_data.hpp"

using namespace kronlab;
using namespace kronlab::storage;
using namespace kronlab::testing;

namespace {

Index num_metrics(const RunStore& run) { return static_cast<Index>(RunReader(run.folder()).metrics().size()); }

}  // namespace

BOOST_AUTO_TEST_SUITE(run_store)

BOOST_AUTO_TEST_CASE(keeps_everything_that_is_known_before_the_first_step) {
  const TemporaryFolder store;
  const auto run = RunStore::create(store.path(), sample_description());
  BOOST_TEST(std::regex_match(run.id(), std::regex("[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}-half-size-mlps")), run.id());
  BOOST_TEST((run.folder() == store.path() / "runs" / run.id()));
  BOOST_TEST(std::filesystem::is_directory(run.folder() / "log"));
  BOOST_TEST(std::filesystem::is_directory(run.folder() / "checkpoints"));
  BOOST_TEST(read_bytes(run.folder() / "config.toml") == sample_description().config_toml);
  const RunReader reader(run.folder());
  const auto found = reader.description(), expected = sample_description();
  BOOST_TEST(reader.id() == run.id());
  BOOST_TEST(reader.schema_version() == run_schema_version);
  BOOST_TEST(found.name == expected.name);
  BOOST_TEST(found.label == expected.label);
  BOOST_TEST(found.question == expected.question);
  BOOST_TEST(found.paper == expected.paper);
  BOOST_TEST(found.config_toml == expected.config_toml);
  BOOST_TEST(found.cell == expected.cell);
  BOOST_TEST(found.model_path == expected.model_path);
  BOOST_TEST(found.model_name == expected.model_name);
  BOOST_TEST((found.parameters == expected.parameters));
  BOOST_TEST((found.provenance == expected.provenance));
  BOOST_TEST((reader.status().state == RunState::created));
  BOOST_TEST(reader.stages().empty());
}

BOOST_AUTO_TEST_CASE(ids_are_unique_and_sort_by_time) {
  const TemporaryFolder store;
  std::vector<std::string> ids;
  for (int i = 0; i < 20; ++i) ids.push_back(RunStore::create(store.path(), sample_description()).id());
  BOOST_TEST(std::ranges::is_sorted(ids));
  BOOST_TEST(std::set<std::string>(ids.begin(), ids.end()).size() == 20u);
  std::vector<std::string> listed;
  for (const auto& run : indexed_runs(store.path())) listed.push_back(run.id);
  BOOST_TEST((listed == ids));
}

BOOST_AUTO_TEST_CASE(reads_back_metrics_layers_and_stages) {
  const TemporaryFolder store;
  auto run = RunStore::create(store.path(), sample_description());
  run.set_state(RunState::running);
  Metric dense = sample_metric("eval/perplexity", 29.5, -1);
  dense.dataset = "wikitext-2";
  dense.protocol = "token-perplexity window=1024";
  dense.standard_error = 0.25;
  run.record(dense);
  run.stage_started(0, "h.*.mlp");
  Metric layered = sample_metric("decompose/error", 0.5, 0, 3);
  layered.layer = "h.0.mlp.c_fc";
  layered.unit = "nat/token";
  run.record(layered);
  LayerRecord plain = sample_layer("b");
  plain.weighted_error = plain.search_value = plain.search_bound = std::nullopt;
  run.record_layer(sample_layer("a"));
  run.record_layer(plain);
  run.stage_finished(0, 12.5);
  const RunReader reader(run.folder());
  const auto metrics = reader.metrics();
  BOOST_REQUIRE(metrics.size() == 2u);
  BOOST_TEST(metrics[0].name == "eval/perplexity");
  BOOST_TEST(metrics[0].value == 29.5);
  BOOST_TEST(metrics[0].unit == "1");
  BOOST_TEST(metrics[0].stage == -1);
  BOOST_TEST(metrics[0].dataset == "wikitext-2");
  BOOST_TEST(metrics[0].protocol == "token-perplexity window=1024");
  BOOST_TEST((metrics[0].standard_error == 0.25));
  BOOST_TEST(metrics[1].layer == "h.0.mlp.c_fc");
  BOOST_TEST(metrics[1].unit == "nat/token");
  BOOST_TEST(metrics[1].step == 3);
  BOOST_TEST(!metrics[1].standard_error.has_value());
  BOOST_TEST(reader.metrics("eval/").size() == 1u);
  std::vector<std::string> visited;
  const auto visit = [&](const Metric& metric) { visited.push_back(metric.name); };
  const Index last = reader.visit_metrics(0, visit);
  BOOST_TEST((visited == std::vector<std::string>{"eval/perplexity", "decompose/error"}));
  BOOST_TEST(reader.visit_metrics(last, visit) == last);
  BOOST_TEST(visited.size() == 2u);
  run.record(sample_metric("later", 1.0));
  run.flush();
  BOOST_TEST(reader.visit_metrics(last, visit) == last + 1);
  BOOST_TEST(visited.back() == "later");
  const auto layers = reader.layers();
  const auto expected = sample_layer("a");
  BOOST_REQUIRE(layers.size() == 2u);
  BOOST_TEST(layers[0].layer == "a");
  BOOST_TEST(layers[0].method == expected.method);
  BOOST_TEST(layers[0].rows == expected.rows);
  BOOST_TEST(layers[0].cols == expected.cols);
  BOOST_TEST(layers[0].parameters_before == expected.parameters_before);
  BOOST_TEST(layers[0].parameters_after == expected.parameters_after);
  BOOST_TEST(layers[0].bytes_after == expected.bytes_after);
  BOOST_TEST(layers[0].relative_error == expected.relative_error);
  BOOST_TEST((layers[0].weighted_error == expected.weighted_error));
  BOOST_TEST((layers[0].search_value == expected.search_value));
  BOOST_TEST((layers[0].search_bound == expected.search_bound));
  BOOST_TEST(layers[0].seconds == expected.seconds);
  BOOST_TEST(layers[0].convergence == expected.convergence);
  BOOST_TEST((!layers[1].weighted_error && !layers[1].search_value && !layers[1].search_bound));
  const auto stages = reader.stages();
  BOOST_REQUIRE(stages.size() == 1u);
  BOOST_TEST(stages[0].name == "h.*.mlp");
  BOOST_TEST((stages[0].seconds == 12.5));
  BOOST_TEST(!stages[0].finished_at.empty());
  BOOST_TEST(reader.status().seconds == 12.5);
}

BOOST_AUTO_TEST_CASE(nan_and_infinities_stay_apart) {
  const TemporaryFolder store;
  auto run = RunStore::create(store.path(), sample_description());
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double value : {std::nan(""), infinity, -infinity, 0.1, 5e-324})
    run.record(sample_metric("m/v", value, -1));
  run.flush();
  const auto metrics = RunReader(run.folder()).metrics();
  BOOST_REQUIRE(metrics.size() == 5u);
  BOOST_TEST(std::isnan(metrics[0].value));
  BOOST_TEST(metrics[1].value == infinity);
  BOOST_TEST(metrics[2].value == -infinity);
  BOOST_TEST(metrics[3].value == 0.1);
  BOOST_TEST(metrics[4].value == 5e-324);
}

BOOST_AUTO_TEST_CASE(writes_batches_of_256_and_the_rest_at_the_end) {
  const TemporaryFolder store;
  std::filesystem::path folder;
  {
    auto run = RunStore::create(store.path(), sample_description());
    folder = run.folder();
    for (int i = 0; i < 255; ++i) run.record(sample_metric("m/v", i, -1));
    BOOST_TEST(num_metrics(run) == 0);
    run.record(sample_metric("m/v", 255, -1));
    BOOST_TEST(num_metrics(run) == 256);
    run.record(sample_metric("m/v", 256, -1));
    auto moved = std::move(run);
    moved.record(sample_metric("m/v", 257, -1));
    BOOST_TEST(num_metrics(moved) == 256);
  }
  BOOST_TEST(RunReader(folder).metrics().size() == 258u);
}

BOOST_AUTO_TEST_CASE(refuses_metrics_without_name_unit_or_stage) {
  const TemporaryFolder store;
  auto run = RunStore::create(store.path(), sample_description());
  Metric no_unit = sample_metric("m/v", 1, -1);
  no_unit.unit.clear();
  BOOST_CHECK_THROW(run.record(no_unit), ContractError);
  BOOST_CHECK_THROW(run.record(sample_metric("", 1, -1)), ContractError);
  BOOST_TEST(throws_with<ContractError>([&] { run.record(sample_metric("m/v", 1, 0)); }, "stage 0"));
  BOOST_TEST(throws_with<ContractError>([&] { run.record_layer(sample_layer("a", 3)); }, "stage 3"));
  BOOST_TEST(throws_with<StorageError>([&] { run.stage_finished(0, 1.0); }, "was not started"));
  BOOST_CHECK_THROW(run.stage_started(-2, "below"), ContractError);
}

BOOST_AUTO_TEST_CASE(a_stage_or_a_layer_that_comes_again_replaces_itself) {
  const TemporaryFolder store;
  auto run = RunStore::create(store.path(), sample_description());
  run.stage_started(0, "first");
  run.record_layer(sample_layer("a"));
  run.record(sample_metric("m/v", 1));
  run.stage_finished(0, 5.0);
  run.stage_started(0, "second");
  auto better = sample_layer("a");
  better.relative_error = 0.0625;
  run.record_layer(better);
  run.flush();
  const RunReader reader(run.folder());
  BOOST_REQUIRE(reader.stages().size() == 1u);
  BOOST_TEST(reader.stages()[0].name == "second");
  BOOST_TEST(!reader.stages()[0].seconds.has_value());
  BOOST_TEST(reader.stages()[0].finished_at.empty());
  BOOST_REQUIRE(reader.layers().size() == 1u);
  BOOST_TEST(reader.layers()[0].relative_error == 0.0625);
  BOOST_TEST(reader.metrics().size() == 1u);
}

BOOST_AUTO_TEST_CASE(forgets_a_stage_and_all_later_ones) {
  const TemporaryFolder store;
  auto run = RunStore::create(store.path(), sample_description());
  run.stage_started(-1, "dense");
  run.record(sample_metric("m/v", -1, -1));
  for (const Index stage : {0, 1, 2}) {
    run.stage_started(stage, "stage");
    run.record(sample_metric("m/v", static_cast<double>(stage), stage));
    run.record_layer(sample_layer("a", stage));
  }
  run.forget_stages_from(1);
  BOOST_CHECK_THROW(run.record(sample_metric("m/v", 9, 1)), ContractError);
  {
    const RunReader reader(run.folder());
    BOOST_TEST(reader.stages().size() == 2u);
    BOOST_TEST(reader.layers().size() == 1u);
    BOOST_TEST(reader.metrics().size() == 2u);
    BOOST_TEST(reader.metrics().back().stage == 0);
  }
  run.forget_stages_from(-1);
  run.record(sample_metric("m/v", 8, -1));
  run.flush();
  const RunReader reader(run.folder());
  BOOST_TEST(reader.stages().empty());
  BOOST_TEST(reader.layers().empty());
  BOOST_TEST(reader.metrics().size() == 1u);
}

BOOST_AUTO_TEST_CASE(goes_on_with_a_run_and_keeps_what_it_had) {
  const TemporaryFolder store;
  std::string id;
  {
    auto run = RunStore::create(store.path(), sample_description());
    id = run.id();
    run.stage_started(0, "stage");
    run.record(sample_metric("m/v", 1));
    run.set_state(RunState::interrupted, "time limit");
  }
  BOOST_TEST((RunReader(store.path() / "runs" / id).status().state == RunState::interrupted));
  BOOST_TEST(RunReader(store.path() / "runs" / id).status().reason == "time limit");
  auto run = RunStore::open(store.path(), id);
  run.set_state(RunState::running);
  run.record(sample_metric("m/v", 2));
  run.set_state(RunState::done);
  const RunReader reader(run.folder());
  BOOST_TEST((reader.status().state == RunState::done));
  BOOST_TEST(reader.status().reason.empty());
  BOOST_TEST(reader.metrics().size() == 2u);
}

BOOST_AUTO_TEST_CASE(a_run_whose_writer_ended_without_a_word_is_interrupted_if_it_left_numbers_else_lost) {
  for (const bool has_numbers : {false, true}) {
    const TemporaryFolder store;
    std::filesystem::path folder;
    {
      auto run = RunStore::create(store.path(), sample_description());
      folder = run.folder();
      run.set_state(RunState::running);
      update_index(store.path(), true);
      if (has_numbers) run.record(sample_metric("eval/perplexity", 7.0, -1));
      run.flush();
      BOOST_TEST((RunReader(folder).status().state == RunState::running));
    }
    const auto expected = has_numbers ? RunState::interrupted : RunState::lost;
    const auto status = RunReader(folder).status();
    BOOST_TEST((status.state == expected));
    BOOST_TEST(status.reason == "its process is gone");
    BOOST_TEST((indexed_runs(store.path()).at(0).status.state == expected));
    update_index(store.path(), false);
    BOOST_TEST((indexed_runs(store.path()).at(0).status.state == expected));
  }
}

BOOST_AUTO_TEST_CASE(artifacts_carry_size_and_hash) {
  const TemporaryFolder store;
  auto run = RunStore::create(store.path(), sample_description());
  write_bytes(run.folder() / "arrays.h5", "abc");
  run.record_artifact("arrays.h5", "arrays");
  run.record_artifact("config.toml", "configuration");
  write_bytes(run.folder() / "arrays.h5", "abcd");
  run.record_artifact("arrays.h5", "arrays");
  const auto artifacts = RunReader(run.folder()).artifacts();
  BOOST_REQUIRE(artifacts.size() == 2u);
  BOOST_TEST(artifacts[0].path == "arrays.h5");
  BOOST_TEST(artifacts[0].kind == "arrays");
  BOOST_TEST(artifacts[0].bytes == 4);
  BOOST_TEST(artifacts[0].sha256 == sha256("abcd"));
  BOOST_TEST(throws_with<StorageError>([&] { run.record_artifact("none.h5", "arrays"); }, "none.h5"));
  for (const char* outside : {"../other", "/etc/passwd", "a/../../b", ""}) {
    BOOST_CHECK_THROW(run.record_artifact(outside, "arrays"), ContractError);
  }
}

EvaluationRecord sample_evaluation(Index stage, Index step = 0) {
  return {stage, step, "prose", "token-perplexity window=8", "abc", {{7, 21.5}, {7, std::numeric_limits<double>::quiet_NaN()}, {3, 0.125}}};
}

BOOST_AUTO_TEST_CASE(reads_back_the_losses_of_windows) {
  const TemporaryFolder store;
  auto run = RunStore::create(store.path(), sample_description());
  run.stage_started(0, "mlp");
  for (const auto& [stage, step] : {std::pair<Index, Index>(-1, 0), {0, 0}, {0, 5}}) run.record_evaluation(sample_evaluation(stage, step));
  run.record_evaluation({0, 7, "empty", "p", "", {}});
  BOOST_CHECK_THROW(run.record_evaluation(sample_evaluation(1)), ContractError);
  run.flush();
  const RunReader reader(run.folder());
  const auto found = reader.evaluations();
  BOOST_REQUIRE(found.size() == 4u);
  BOOST_TEST(found[2].stage == 0);
  BOOST_TEST(found[2].step == 5);
  BOOST_TEST(found[2].dataset == "prose");
  BOOST_TEST(found[2].protocol == "token-perplexity window=8");
  BOOST_TEST(found[2].data_sha256 == "abc");
  BOOST_REQUIRE(found[2].windows.size() == 3u);
  BOOST_TEST((found[2].windows[0] == WindowLoss{7, 21.5}));
  BOOST_TEST(std::isnan(found[2].windows[1].loss));
  BOOST_TEST((found[2].windows[2] == WindowLoss{3, 0.125}));
  BOOST_TEST(found[3].windows.empty());
  run.record_evaluation(sample_evaluation(0, 6));  // not written yet
  run.forget_steps_after(0, 4);
  BOOST_TEST(reader.evaluations().size() == 2u);
  run.forget_stages_from(0);
  BOOST_TEST(reader.evaluations().size() == 1u);
  run.forget_stages_from(-1);
  BOOST_TEST(reader.evaluations().empty());
  SQLite::Database database((run.folder() / "run.sqlite").string());
  BOOST_TEST(database.execAndGet("SELECT count(*) FROM window_loss").getInt() == 0);
}

BOOST_AUTO_TEST_CASE(a_record_of_schema_1_is_read_and_goes_on) {
  const TemporaryFolder store;
  std::string id;
  {
    auto run = RunStore::create(store.path(), sample_description());
    id = run.id();
    run.record(sample_metric("eval/perplexity", 29.5, -1));
    run.flush();
    SQLite::Database old((run.folder() / "run.sqlite").string(), SQLite::OPEN_READWRITE);  // what version 1 did not have
    old.exec("DROP TABLE window_loss; DROP TABLE evaluation; DROP TABLE attempt; PRAGMA user_version = 1");
  }
  const auto folder = store.path() / "runs" / id;
  BOOST_TEST(RunReader(folder).schema_version() == 1);
  BOOST_TEST(RunReader(folder).evaluations().empty());
  BOOST_TEST(RunReader(folder).metrics().size() == 1u);
  auto run = RunStore::open(store.path(), id);
  run.record_evaluation(sample_evaluation(-1));
  run.flush();
  const RunReader reader(folder);
  BOOST_TEST(reader.schema_version() == run_schema_version);
  BOOST_TEST(reader.metrics().size() == 1u);
  BOOST_TEST(reader.evaluations().size() == 1u);
}

BOOST_AUTO_TEST_CASE(refuses_a_newer_schema_with_its_number) {
  const TemporaryFolder store;
  std::string id;
  {
    const auto run = RunStore::create(store.path(), sample_description());
    id = run.id();
    SQLite::Database(run.folder() / "run.sqlite", SQLite::OPEN_READWRITE).exec("PRAGMA user_version = 999");
  }
  BOOST_TEST(throws_with<StorageError>([&] { RunStore::open(store.path(), id); }, "schema 999"));
  BOOST_TEST(throws_with<StorageError>([&] { RunReader{store.path() / "runs" / id}; }, "schema 999"));
}

BOOST_AUTO_TEST_CASE(refuses_what_is_no_run) {
  const TemporaryFolder store;
  const auto run = RunStore::create(store.path(), sample_description());
  for (const char* id : {"none", "", "..", "a/b"}) BOOST_CHECK_THROW(RunStore::open(store.path(), id), StorageError);
  BOOST_TEST(throws_with<StorageError>([&] { indexed_runs(store / "none"); }, "no store"));
  BOOST_TEST(throws_with<StorageError>([&] { RunReader{store.path()}; }, "no run.sqlite"));
  BOOST_TEST(throws_with<StorageError>([&] { run_state("gone"); }, "'gone'"));
  for (const auto state : {RunState::created, RunState::running, RunState::interrupted, RunState::done,
                           RunState::failed, RunState::lost}) {
    BOOST_TEST((run_state(to_string(state)) == state));
  }
}

BOOST_AUTO_TEST_CASE(lists_broken_runs_with_their_reason) {
  const TemporaryFolder store;
  const std::string good = RunStore::create(store.path(), sample_description()).id();
  const auto runs = store.path() / "runs";
  std::filesystem::create_directories(runs / "00-empty");
  for (const auto& [name, bytes] :
       {std::pair("01-garbage", std::string(5000, 'x')), std::pair("02-nothing", std::string()),
        std::pair("03-truncated", read_bytes(runs / good / "run.sqlite").substr(0, 6000))}) {
    std::filesystem::create_directories(runs / name);
    write_bytes(runs / name / "run.sqlite", bytes);
  }
  write_bytes(runs / "a file", "no run");
  std::filesystem::create_directories(runs / ".unfinished.tmp");
  const auto listed = indexed_runs(store.path());
  BOOST_REQUIRE(listed.size() == 5u);
  BOOST_TEST(listed[0].problem.find("no run.sqlite") != std::string::npos, listed[0].problem);
  BOOST_TEST(listed[1].problem.find("no SQLite database") != std::string::npos, listed[1].problem);
  BOOST_TEST(listed[2].problem.find("no record of a run") != std::string::npos, listed[2].problem);
  BOOST_TEST(listed[3].problem.find("damaged") != std::string::npos, listed[3].problem);
  BOOST_TEST(listed[4].id == good);
  BOOST_TEST(listed[4].problem.empty(), listed[4].problem);
}

BOOST_AUTO_TEST_SUITE_END()
