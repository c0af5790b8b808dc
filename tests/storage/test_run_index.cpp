#include <SQLiteCpp/SQLiteCpp.h>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cmath>
#include <limits>

#include "framework/base/error.hpp"
#include "framework/storage/run_index.hpp"
#include "tests/storage/bytes.hpp"
#include "tests/storage/sample_run.hpp"
#include "tests/support/test_data.hpp"

using namespace kronlab;
using namespace kronlab::storage;
using namespace kronlab::testing;

namespace {

namespace fs = std::filesystem;

/// Runs look settled: their files are as old as a minute.
void age(const fs::path& run_folder) {
  fs::last_write_time(run_folder / "run.sqlite", fs::file_time_type::clock::now() - std::chrono::minutes(1));
}

std::string add_run(const std::string& store, const std::string& label, double perplexity, RunState state = RunState::done) {
  auto run = RunStore::create(store, sample_description(label));
  run.stage_started(0, "mlp");
  run.record_layer(sample_layer("layers.0.mlp.up_proj"));
  Metric metric = sample_metric("eval/perplexity", perplexity, 0);
  metric.dataset = "prose", metric.protocol = "p", metric.standard_error = 0.5;
  run.record(metric);
  run.set_state(state, state == RunState::failed ? "no such model" : "");
  age(run.folder());
  return run.id();
}

struct Store {
  TemporaryFolder folder;
  std::string path = folder / "store";
  fs::path index = fs::path(path) / "index.sqlite";
  std::string first = add_run(path, "first", 30.5), second = add_run(path, "second", 31.5, RunState::failed);
  fs::path run_folder(const std::string& id) const { return fs::path(path) / "runs" / id; }
};

std::vector<std::string> ids_of(const std::vector<IndexedRun>& runs) {
  std::vector<std::string> ids;
  for (const auto& run : runs) ids.push_back(run.id);
  return ids;
}

std::string text_of(const std::vector<IndexedRun>& runs) {
  std::string text;
  for (const auto& run : runs) {
    text += fmt::format("{} {} {} {} {} {} {} {} {} {} {} {} {} {}", run.id, run.folder.string(), run.problem, run.name, run.label, run.question, run.model_name,
                        run.cell, run.methods, to_string(run.status.state), run.status.reason, run.status.created_at, run.status.updated_at, run.status.seconds);
    for (const auto& [name, value] : run.parameters) text += fmt::format(" {}={}", name, value);
    if (run.headline) {
      text += fmt::format(" {} {} {} {} {} {} {}", run.headline->name, run.headline->value, run.headline->standard_error.value_or(-1), run.headline->stage,
                          run.headline->step, run.headline->dataset, run.headline->protocol);
    }
    text += "\n";
  }
  return text;
}

void expect_update(const IndexUpdate& found, Index read, Index unchanged, Index gone) {
  BOOST_TEST(found.read == read);
  BOOST_TEST(found.unchanged == unchanged);
  BOOST_TEST(found.gone == gone);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(run_index)

BOOST_AUTO_TEST_CASE(the_index_says_what_the_runs_say) {
  const Store store;
  const auto without = text_of(indexed_runs(store.path));
  BOOST_TEST(!fs::exists(store.index));
  expect_update(update_index(store.path, false), 2, 0, 0);
  BOOST_TEST(text_of(indexed_runs(store.path)) == without);
  BOOST_TEST(without.find("permuted(kronecker)") != std::string::npos);
  BOOST_TEST(without.find("eval/perplexity 31.5 0.5 0 0 prose p") != std::string::npos, without);
  expect_update(update_index(store.path, false), 0, 2, 0);
  expect_update(update_index(store.path, true), 2, 0, 0);
}

BOOST_AUTO_TEST_CASE(what_changed_is_read_again_with_and_without_an_update) {
  const Store store;
  update_index(store.path, false);
  {
    auto run = RunStore::open(store.path, store.second);
    run.set_state(RunState::done);
  }
  const std::string third = add_run(store.path, "third", 29.5);
  fs::remove_all(store.run_folder(store.first));
  const auto seen = indexed_runs(store.path);
  BOOST_TEST((ids_of(seen) == std::vector{store.second, third}));
  BOOST_TEST((seen[0].status.state == RunState::done));
  age(store.run_folder(store.second));
  expect_update(update_index(store.path, false), 2, 0, 1);
  BOOST_TEST(text_of(indexed_runs(store.path)) == text_of(seen));
  expect_update(update_index(store.path, false), 0, 2, 0);
}

BOOST_AUTO_TEST_CASE(a_cache_sees_what_changed_since_it_was_asked) {
  const Store store;
  RunCache cache(store.path);
  BOOST_TEST(text_of(cache.runs()) == text_of(indexed_runs(store.path)));
  {
    auto run = RunStore::open(store.path, store.second);
    run.set_state(RunState::done);
  }
  const std::string third = add_run(store.path, "third", 29.5);
  fs::remove_all(store.run_folder(store.first));
  for (int again = 0; again < 2; ++again) {
    BOOST_TEST((ids_of(cache.runs()) == std::vector{store.second, third}));
    BOOST_TEST(text_of(cache.runs()) == text_of(indexed_runs(store.path)));
  }
}

BOOST_AUTO_TEST_CASE(a_run_that_was_just_written_is_not_taken_to_be_settled) {
  const Store store;
  auto run = RunStore::open(store.path, store.first);
  run.set_state(RunState::done);  // its file is younger than two seconds
  expect_update(update_index(store.path, false), 2, 0, 0);
  expect_update(update_index(store.path, false), 1, 1, 0);
}

BOOST_AUTO_TEST_CASE(a_damaged_or_foreign_index_is_not_used_and_made_anew) {
  const Store store;
  const auto expected = text_of(indexed_runs(store.path));
  update_index(store.path, false);
  const std::string good = read_bytes(store.index);
  for (const std::string& bytes : {std::string("no database"), std::string(), good.substr(0, 5000), std::string(good.size(), 'x')}) {
    write_bytes(store.index, bytes);
    BOOST_TEST(text_of(indexed_runs(store.path)) == expected);
    expect_update(update_index(store.path, false), 2, 0, 0);
    expect_update(update_index(store.path, false), 0, 2, 0);
  }
  SQLite::Database(store.index.string(), SQLite::OPEN_READWRITE).exec("PRAGMA user_version = 99");
  BOOST_TEST(text_of(indexed_runs(store.path)) == expected);
  expect_update(update_index(store.path, false), 2, 0, 0);
}

BOOST_AUTO_TEST_CASE(a_run_that_cannot_be_read_is_known_with_its_problem) {
  const Store store;
  fs::create_directories(store.run_folder("00-empty"));
  update_index(store.path, false);
  const auto runs = indexed_runs(store.path);
  BOOST_REQUIRE(runs.size() == 3u);
  BOOST_TEST(runs[0].problem.find("no run.sqlite") != std::string::npos);
  BOOST_TEST(throws_with<StorageError>([&] { indexed_runs(store.path + "-none"); }, "no store"));
  BOOST_TEST(throws_with<StorageError>([&] { update_index(store.path + "-none", false); }, "no store"));
}

BOOST_AUTO_TEST_CASE(runs_are_chosen_by_an_expression) {
  const Store store;
  const auto all = indexed_runs(store.path);
  const auto chosen = [&](const std::string& expression) { return ids_of(runs_where(all, expression)); };
  BOOST_TEST((chosen("perplexity < 31") == std::vector{store.first}));
  BOOST_TEST((chosen("state = 'failed' AND reason LIKE '%model%'") == std::vector{store.second}));
  BOOST_TEST((chosen("label = 'first' OR parameter(seed) = '2'") == std::vector{store.first}));
  BOOST_TEST(chosen("parameter(stage.0.decompose.num_terms) = 4 AND parameter(seed) = 1").size() == 2u);
  BOOST_TEST(chosen("methods LIKE '%svd%'").empty());
  for (const char* wrong : {"perplexity <", "nothing = 1", "parameter(seed", "parameter(a'b) = 1", "", "1); DROP TABLE run; --"}) {
    BOOST_TEST(throws_with<ConfigError>([&] { runs_where(all, wrong); }, "--where"), wrong);
  }
}

BOOST_AUTO_TEST_SUITE_END()
