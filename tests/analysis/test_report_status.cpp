#include <SQLiteCpp/SQLiteCpp.h>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>

#include "framework/storage/claim.hpp"
#include "framework/storage/run_database.hpp"
#include "tests/analysis/report_fixture.hpp"
#include "tests/support/fake_program.hpp"

using namespace kronlab;
using namespace kronlab::storage;
using namespace kronlab::testing;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

RunDescription of_cell(const std::string& label, const std::string& cell) {
  auto description = sample_description(label);
  description.cell = cell;
  return description;
}

/// A run that another host writes for Slurm job `job`, with a claim whose heartbeat is so old.
void run_elsewhere(const std::string& store, const std::string& cell, const std::string& job, std::chrono::seconds age) {
  fs::path folder;
  {
    const EnvironmentVariable of_job("SLURM_JOB_ID", job);
    auto run = RunStore::create(store, of_cell("run of " + cell, cell));
    run.attempt_started();
    run.set_state(RunState::running);
    run.record(sample_metric("distill/loss", 1.0, -1));
    folder = run.folder();
  }
  write_bytes(attempt_log_path(folder, 1), "14:03:01  loading\n14:03:08  MLPs: step 12/400  3 min left\n");
  SQLite::Database(folder / "run.sqlite", SQLite::OPEN_READWRITE).exec("UPDATE run SET writer = 'far 12 34 m'");
  const fs::path claim = fs::path(store) / "claims" / cell;
  fs::create_directories(claim.parent_path());
  write_bytes(claim, "0123\nfar 12 34 m\n" + job + "\n0\n");
  fs::last_write_time(claim, fs::file_time_type::clock::now() - age);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(report_status)

BOOST_AUTO_TEST_CASE(status_joins_runs_and_jobs) {
  const Store store;
  const FakePrograms programs;
  write_bytes(store.folder / "cells", "at-work,waiting\nnever-begun\nstopped\n");
  programs.write("squeue", fmt::format("case \"$*\" in *--jobs=18*) exit 0;; *--jobs*) echo RUNNING;; *)\n"
                                       "echo '17|15|1|RUNNING|None|node2|node7|1:02:03|kronlab:{0}'\n"
                                       "echo '15|15|2|PENDING|Priority|||1:00:00|kronlab:{0}'\n"
                                       "echo '15|15|3|PENDING|BeginTime|||1:00:00|kronlab:{0}';; esac",
                                       store.folder.path().string()));
  programs.write("sacct", "case \"$*\" in *--jobs=18*) echo 'NODE_FAIL|1:0|node3';; esac");
  finished_run(store.path, of_cell("finished", "done-cell"), 31.0);
  run_elsewhere(store.path, "at-work", "17", std::chrono::seconds(1));
  run_elsewhere(store.path, "vanished", "18", std::chrono::seconds(500));
  RunStore::create(store.path, of_cell("broke", "broke-cell")).set_state(RunState::failed, "no space left");
  RunStore::create(store.path, of_cell("was stopped", "stopped")).set_state(RunState::interrupted, "time limit");

  const Output output = store.report("status --json");
  BOOST_TEST_REQUIRE(output.exit_code == 0, output.err);
  std::map<std::string, json> by_cell;
  const json all = json::parse(output.out);
  for (const auto& entry : all.at("cells")) by_cell[entry.at("cell")] = entry;
  BOOST_TEST(by_cell.size() == 6u, output.out);
  const auto expect = [&](const char* cell, const char* state, const char* said, const json& job) {
    const json& entry = by_cell[cell];
    BOOST_TEST(entry["state"] == state, cell);
    BOOST_TEST(entry["said"] == said, cell << ": " << entry["said"]);
    BOOST_TEST((entry["job"].is_null() ? json() : entry["job"]["name"]) == job, cell);
  };
  expect("at-work", "running", "MLPs: step 12/400  3 min left", "15_1");
  expect("vanished", "lost", "no sign of life from far process 12 (Slurm job 18: NODE_FAIL, exit code 1:0 on node3)", nullptr);
  expect("broke-cell", "failed", "no space left", nullptr);
  expect("stopped", "interrupted", "waits: BeginTime; time limit", "15_3");
  expect("waiting", "pending", "RUNNING, its run has not begun", "15_1");
  expect("never-begun", "pending", "waits: Priority", "15_2");
  BOOST_TEST(by_cell["at-work"]["place"] == "node2");
  BOOST_TEST(by_cell["at-work"]["job"]["time_left"] == "1:02:03");
  BOOST_TEST(by_cell["at-work"]["job"]["excluded_nodes"] == "node7");

  const Output text = store.report("status");
  BOOST_TEST(text.has("7 cells: 1 done, 1 failed, 1 interrupted, 1 lost, 2 pending, 1 running"));
  BOOST_TEST(text.has("excluded nodes: node7"));
  BOOST_TEST(text.has("15_1 RUNNING"));
  BOOST_TEST(text.out.find("finished") == std::string::npos);
  BOOST_TEST(store.report("status --done").has("finished"));
  BOOST_TEST(store.report("status --width 100").out.find("exit code 1:0 on node3") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(status_works_without_slurm) {
  const Store store;
  const FakePrograms programs;
  programs.write("squeue", "exit 127");
  finished_run(store.path, of_cell("finished", "done-cell"), 31.0);
  const Output output = store.report("status");
  BOOST_TEST(output.exit_code == 0);
  BOOST_TEST(output.out == "1 cell: 1 done\nSlurm cannot be asked here: what waits in its queue is not shown\n");
}

BOOST_AUTO_TEST_SUITE_END()
