// The store with many runs: bench_store [RUNS [METRICS]]
// Seconds of an index from nothing, of one after a new run, of `list` (with the index, as kronlab-report does it) and of a
// table of 100 rows; records per second of one writer, with the durability that runs have.
#include <SQLiteCpp/SQLiteCpp.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "framework/base/progress.hpp"
#include "framework/storage/run_index.hpp"
#include "tests/storage/sample_run.hpp"

namespace {

using namespace kronlab;
using namespace kronlab::storage;
namespace fs = std::filesystem;

std::string first_run(const std::string& store, int num_metrics) {
  auto run = RunStore::create(store, testing::sample_description("0"));
  run.stage_started(0, "mlp");
  run.record_layer(testing::sample_layer("layers.0.mlp.up_proj"));
  for (int i = 0; i < num_metrics; ++i) {
    Metric metric = testing::sample_metric(i % 10 == 0 ? "eval/perplexity" : "distill/loss", 30.0 + i, 0, i);
    metric.dataset = "prose", metric.protocol = "token-perplexity window=1024";
    run.record(metric);
  }
  run.set_state(RunState::done);
  return run.id();
}

/// A copy of a run under another id, as no other way makes ten thousand in a minute.
void copy_run(const fs::path& from, const fs::path& runs, int number) {
  const std::string id = fmt::format("20260101T000000Z-{:08x}-bench", number);
  fs::create_directories(runs / id);
  fs::copy_file(from / "run.sqlite", runs / id / "run.sqlite");
  SQLite::Database database((runs / id / "run.sqlite").string(), SQLite::OPEN_READWRITE);
  database.exec("PRAGMA synchronous = OFF");
  database.exec("PRAGMA journal_mode = MEMORY");
  database.exec(fmt::format("UPDATE run SET run_id = '{}', label = '{}', cell = '{}'", id, number, number));
}

template <class Work>
double seconds_of(const char* what, Work work) {
  const double started = now_s();
  work();
  const double seconds = now_s() - started;
  std::printf("%-44s %8.3f s\n", what, seconds);
  std::fflush(stdout);
  return seconds;
}

}  // namespace

int main(int argc, char** argv) try {
  const int num_runs = argc > 1 ? std::atoi(argv[1]) : 10'000, num_metrics = argc > 2 ? std::atoi(argv[2]) : 200;
  const fs::path folder = fs::temp_directory_path() / fmt::format("kronlab-bench-store-{}", ::getpid());
  const std::string store = (folder / "store").string();
  const fs::path runs = fs::path(store) / "runs";
  const std::string first = first_run(store, num_metrics);
  seconds_of("making the runs", [&] {
    for (int number = 1; number < num_runs; ++number) copy_run(runs / first, runs, number);
  });
  ::usleep(2'100'000);  // younger runs are read again
  seconds_of("index from nothing", [&] { update_index(store, true); });
  copy_run(runs / first, runs, num_runs);
  seconds_of("index after one new run", [&] { update_index(store, false); });
  seconds_of("list", [&] { std::printf("%zu runs\n", indexed_runs(store).size()); });
  seconds_of("where", [&] { std::printf("%zu runs\n", runs_where(indexed_runs(store), "perplexity > 0").size()); });
  // As a user waits for them, with the start of the program.
  std::string ids;
  for (const auto& listing : list_run_folders(store)) {
    if (ids.size() < 100 * (listing.id.size() + 1)) ids += " " + listing.id;
  }
  const auto report = [&](const char* what, const std::string& arguments) {
    const char* build = std::getenv("KRONLAB_BINARY_DIR");
    const std::string command = std::string(build ? build : "build/release") + "/bin/kronlab-report " + arguments + " --store " + store + " >/dev/null";
    seconds_of(what, [&] {
      if (std::system(command.c_str()) != 0) throw StorageError("failed: " + command);
    });
  };
  report("kronlab-report list", "list");
  report("kronlab-report table of 100 runs", "table" + ids);
  report("kronlab-report table --format html", "table --format html" + ids);
  constexpr int num_records = 1'000'000;
  const double seconds = seconds_of("a million records", [&] {
    auto run = RunStore::create(store, testing::sample_description("writer"));
    run.stage_started(0, "mlp");
    for (int i = 0; i < num_records; ++i) run.record(testing::sample_metric("distill/loss", i, 0, i));
    run.flush();
  });
  std::printf("%.0f records/s\n", num_records / seconds);
  if (!std::getenv("BENCH_KEEP")) fs::remove_all(folder);
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
