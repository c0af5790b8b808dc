#include <SQLiteCpp/SQLiteCpp.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cstdlib>
#include <future>
#include <map>
#include <thread>

#include "framework/storage/run_index.hpp"
#include "framework/storage/run_reader.hpp"
#include "framework/storage/run_store.hpp"
#include "tests/storage/bytes.hpp"
#include "tests/storage/sample_run.hpp"
#include "tests/support/environment.hpp"
#include "tests/support/small_file_system.hpp"

extern char** environ;

using namespace kronlab;
using namespace kronlab::storage;
using namespace kronlab::testing;
using namespace std::chrono_literals;

namespace {

/// Another process that writes a run, and what it said.
class Writer {
 public:
  Writer(const std::string& store, const std::string& id, Index first, const std::string& output) : output_(output) {
    const std::string program = std::string(std::getenv("KRONLAB_BINARY_DIR")) + "/tests/run_store_writer";
    const std::string first_text = std::to_string(first);
    const char* const words[] = {program.c_str(), store.c_str(), id.c_str(), first_text.c_str(), nullptr};
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addopen(&actions, 1, output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    const int failed = ::posix_spawn(&process_, program.c_str(), &actions, nullptr, const_cast<char**>(words), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    BOOST_REQUIRE(failed == 0);
  }
  ~Writer() {
    if (process_ > 0) kill_now();
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  /// The last counter that it has seen written; -1 if none.
  Index last_flushed() const {
    const std::string said = read_bytes(output_);
    const auto end = said.rfind('\n');
    if (end == std::string::npos) return -1;
    const auto begin = end == 0 ? std::string::npos : said.rfind('\n', end - 1);
    return std::stol(said.substr(begin == std::string::npos ? 0 : begin + 1));
  }
  void wait_for_flush_after(Index counter) const {
    for (int i = 0; i < 1000 && last_flushed() <= counter; ++i) std::this_thread::sleep_for(5ms);
    BOOST_REQUIRE(last_flushed() > counter);
  }
  void kill_now() {
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
    process_ = -1;
  }

 private:
  std::string output_;
  pid_t process_ = -1;
};

std::string integrity_of(const std::filesystem::path& folder) {
  SQLite::Database database(folder / "run.sqlite", SQLite::OPEN_READWRITE, 5000);
  return database.execAndGet("PRAGMA integrity_check").getString();
}

/// The run has the metrics 0, 1, ..., count - 1 and a sound database.
void expect_counting(const std::filesystem::path& folder, Index count) {
  const auto metrics = RunReader(folder).metrics();
  BOOST_TEST(static_cast<Index>(metrics.size()) == count);
  for (std::size_t i = 0; i < metrics.size(); ++i) BOOST_REQUIRE(metrics[i].value == static_cast<double>(i));
  BOOST_TEST(integrity_of(folder) == "ok");
}

/// A connection in the middle of reading, as a forgotten query tool is.
struct LockingReader {
  SQLite::Database database;
  explicit LockingReader(const std::filesystem::path& folder) : database(folder / "run.sqlite", SQLite::OPEN_READONLY) {
    database.exec("BEGIN");
    database.execAndGet("SELECT count(*) FROM metric");
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(run_store_faults)

BOOST_AUTO_TEST_CASE(a_reader_that_holds_the_database_delays_and_loses_nothing) {
  const TemporaryFolder store;
  auto run = RunStore::create(store.path(), sample_description());
  run.set_patience(0.05);
  {
    const LockingReader reader(run.folder());
    for (int i = 0; i < 300; ++i) run.record(sample_metric("m/v", i, -1));
    BOOST_TEST(throws_with<StorageError>([&] { run.flush(); }, "another program holds the database"));
    BOOST_TEST(throws_with<StorageError>([&] { run.stage_started(0, "stage"); }, "another program"));
    BOOST_CHECK_THROW(run.record(sample_metric("m/v", 1, 0)), ContractError);
  }
  run.flush();
  const auto metrics = RunReader(run.folder()).metrics();
  BOOST_REQUIRE(metrics.size() == 300u);
  for (std::size_t i = 0; i < metrics.size(); ++i) BOOST_REQUIRE(metrics[i].value == static_cast<double>(i));
}

BOOST_AUTO_TEST_CASE(flush_waits_for_a_reader_to_end) {
  const TemporaryFolder store;
  auto run = RunStore::create(store.path(), sample_description());
  auto reader = std::make_unique<LockingReader>(run.folder());
  run.record(sample_metric("m/v", 1, -1));
  auto release = std::async(std::launch::async, [&] {
    std::this_thread::sleep_for(150ms);
    reader.reset();
  });
  run.flush();
  release.get();
  BOOST_TEST(RunReader(run.folder()).metrics().size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_run_is_read_while_another_process_writes_it) {
  const TemporaryFolder store;
  std::string id;
  {
    auto run = RunStore::create(store.path(), sample_description());
    id = run.id();
    run.stage_started(0, "stage");
    run.set_state(RunState::running);
  }
  const auto folder = store.path() / "runs" / id;
  Writer writer(store.path(), id, 0, store / "said");
  writer.wait_for_flush_after(0);
  for (int i = 0; i < 5; ++i) {
    const Index flushed = writer.last_flushed();
    const RunReader reader(folder);
    const auto metrics = reader.metrics();
    BOOST_REQUIRE(static_cast<Index>(metrics.size()) > flushed);
    for (std::size_t m = 0; m < metrics.size(); ++m) BOOST_REQUIRE(metrics[m].value == static_cast<double>(m));
    BOOST_TEST((reader.status().state == RunState::running));
  }
  BOOST_TEST(throws_with<StorageError>([&] { RunStore::open(store.path(), id); }, "another process"));
  writer.wait_for_flush_after(writer.last_flushed());
  writer.kill_now();
  BOOST_TEST((RunReader(folder).status().state == RunState::interrupted));
}

BOOST_AUTO_TEST_CASE(a_kill_at_any_moment_loses_no_flushed_metric) {
  const TemporaryFolder store;
  std::string id;
  {
    auto run = RunStore::create(store.path(), sample_description());
    id = run.id();
    run.stage_started(0, "stage");
  }
  const auto folder = store.path() / "runs" / id;
  Index next = 0;
  int num_journals = 0;
  const char* wanted = std::getenv("KRONLAB_KILLS");
  const int num_rounds = wanted ? std::atoi(wanted) : 24;
  for (int round = 0; round < num_rounds; ++round) {
    Writer writer(store.path(), id, next, store / "said");
    writer.wait_for_flush_after(-1);
    std::this_thread::sleep_for(std::chrono::microseconds(997 * round % 24'000));
    writer.kill_now();
    const Index flushed = writer.last_flushed();
    num_journals += std::filesystem::exists(folder / "run.sqlite-journal") ? 1 : 0;
    const std::string before = read_bytes(folder / "run.sqlite");
    // First a reader, which must not touch the store even if there is a journal to roll back.
    const auto metrics = RunReader(folder).metrics();
    BOOST_REQUIRE((read_bytes(folder / "run.sqlite") == before));
    BOOST_REQUIRE(static_cast<Index>(metrics.size()) > flushed);
    for (std::size_t m = 0; m < metrics.size(); ++m) BOOST_REQUIRE(metrics[m].value == static_cast<double>(m));
    if (round % 2 == 0) BOOST_REQUIRE(integrity_of(folder) == "ok");
    next = static_cast<Index>(metrics.size());
  }
  BOOST_TEST_MESSAGE(num_journals << " of " << num_rounds << " kills left a journal");
}

BOOST_AUTO_TEST_CASE(a_journal_left_by_a_kill_is_rolled_back_in_a_copy) {
  const TemporaryFolder store;
  const auto run = RunStore::create(store.path(), sample_description());
  const auto folder = store.path() / "runs" / "copy";
  std::filesystem::copy(run.folder(), folder, std::filesystem::copy_options::recursive);
  {
    // The files of a transaction caught in the middle: pages already in the database, the journal not yet gone.
    SQLite::Database database(run.folder() / "run.sqlite", SQLite::OPEN_READWRITE);
    database.exec("PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN IMMEDIATE");
    for (int i = 0; i < 3000; ++i) {
      database.exec(
          "INSERT INTO metric (name, value, unit, stage, step, layer, dataset, protocol) "
          "VALUES ('m/v', 1, '1', -1, 0, '', '', '')");
    }
    for (const char* name : {"run.sqlite", "run.sqlite-journal"}) {
      BOOST_REQUIRE(std::filesystem::exists(run.folder() / name));
      std::filesystem::copy_file(run.folder() / name, folder / name, std::filesystem::copy_options::overwrite_existing);
    }
  }
  const std::string before = read_bytes(folder / "run.sqlite");
  BOOST_TEST(before.size() > 100'000u);
  BOOST_TEST(RunReader(folder).metrics().empty());
  BOOST_TEST((read_bytes(folder / "run.sqlite") == before));
  BOOST_TEST(std::filesystem::exists(folder / "run.sqlite-journal"));
  BOOST_TEST(integrity_of(folder) == "ok");
}

BOOST_AUTO_TEST_CASE(a_full_disk_is_an_error_that_keeps_the_batch) {
  const SmallFileSystem disk(512);
  if (!disk.is_mounted()) {
    BOOST_TEST_MESSAGE("not run: no file system can be mounted here");
    return;
  }
  auto run = RunStore::create(disk.path(), sample_description());
  run.record(sample_metric("m/v", 0, -1));
  run.flush();
  disk.fill();
  for (int i = 1; i < 200; ++i) run.record(sample_metric("m/v", i, -1));
  for (int again = 0; again < 2; ++again) BOOST_TEST(throws_with<StorageError>([&] { run.flush(); }, "full (code 13); free some space"));
  BOOST_TEST(throws_with<StorageError>([&] { run.flush(); }, run.folder().string()));
  BOOST_TEST(RunReader(run.folder()).metrics().size() == 1u);
  BOOST_TEST(throws_with<StorageError>([&] { RunStore::create(disk.path(), sample_description()); }, "runs"));
  BOOST_TEST(indexed_runs(disk.path()).size() == 1u);
  disk.free();
  run.flush();
  BOOST_TEST(RunReader(run.folder()).metrics().size() == 200u);
  BOOST_TEST(integrity_of(run.folder()) == "ok");
}

BOOST_AUTO_TEST_CASE(a_read_only_store_can_be_read_and_not_written) {
  const SmallFileSystem disk(512);
  if (!disk.is_mounted()) {
    BOOST_TEST_MESSAGE("not run: no file system can be mounted here");
    return;
  }
  std::string id;
  {
    auto run = RunStore::create(disk.path(), sample_description());
    id = run.id();
    run.record(sample_metric("m/v", 1, -1));
    run.set_state(RunState::done);
  }
  BOOST_REQUIRE(disk.make_read_only());
  BOOST_TEST(throws_with<StorageError>([&] { RunStore::create(disk.path(), sample_description()); }, "Read-only"));
  BOOST_TEST(throws_with<StorageError>([&] { RunStore::create(disk / "new", sample_description()); }, "Read-only"));
  BOOST_TEST(throws_with<StorageError>([&] { RunStore::open(disk.path(), id); }, "use a store that can be written"));
  const auto runs = indexed_runs(disk.path());
  BOOST_REQUIRE(runs.size() == 1u);
  BOOST_TEST(runs[0].problem.empty(), runs[0].problem);
  BOOST_TEST(RunReader(runs[0].folder).metrics().size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_reader_that_holds_a_lock_for_long_is_waited_for) {
  const char* wanted = std::getenv("KRONLAB_LOCK_SECONDS");  // 60 is the whole of the patience that a run has
  const double held_s = wanted ? std::atof(wanted) : 3.0;
  const TemporaryFolder store;
  auto run = RunStore::create(store.path(), sample_description());
  run.record(sample_metric("m/v", 0, -1));
  run.flush();
  if (held_s >= 60.0) run.set_patience(2 * held_s);
  auto reader = std::make_unique<LockingReader>(run.folder());
  auto release = std::async(std::launch::async, [&] {
    std::this_thread::sleep_for(std::chrono::duration<double>(held_s));
    reader.reset();
  });
  const auto started = std::chrono::steady_clock::now();
  for (int i = 1; i < 300; ++i) run.record(sample_metric("m/v", i, -1));  // a batch waits a second, then for the next one
  run.flush();
  const double waited_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  release.get();
  BOOST_TEST_MESSAGE("a lock of " << held_s << " s held a batch up for " << waited_s << " s");
  BOOST_TEST(waited_s >= 0.9 * held_s);
  BOOST_TEST(waited_s < held_s + 5.0);
  expect_counting(run.folder(), 300);
}

BOOST_AUTO_TEST_CASE(a_run_that_is_deleted_while_it_is_written_is_an_error_with_its_path) {
  const TemporaryFolder store;
  auto run = RunStore::create(store.path(), sample_description());
  run.record(sample_metric("m/v", 0, -1));
  run.flush();
  const auto aside = store.path() / "aside";
  std::filesystem::rename(store.path() / "runs", aside);
  run.record(sample_metric("m/v", 1, -1));
  for (int again = 0; again < 2; ++again) {
    BOOST_TEST(throws_with<StorageError>([&] { run.flush(); }, (run.folder() / "run.sqlite").string()));
    BOOST_TEST(throws_with<StorageError>([&] { run.set_state(RunState::done); }, "it was deleted or moved while it was open"));
  }
  expect_counting(aside / run.id(), 1);
  std::filesystem::rename(aside, store.path() / "runs");  // back again: nothing is lost
  run.flush();
  expect_counting(run.folder(), 2);
  std::filesystem::remove_all(store.path() / "runs");
  run.record(sample_metric("m/v", 2, -1));
  BOOST_TEST(throws_with<StorageError>([&] { run.flush(); }, "it was deleted or moved while it was open"));
}

/// Another process that opens the run and may have ended before the first one writes again.
void take_over(const RunStore& run, bool has_ended) {
  SQLite::Database database((run.folder() / "run.sqlite").string(), SQLite::OPEN_READWRITE);
  database.exec("UPDATE run SET writer = 'another-host 12 34 m'");
  database.exec("INSERT INTO attempt (started_at, process, job, state, reason) VALUES ('', 'another-host 12 34 m', '', 'running', '')");
  if (has_ended) database.exec("UPDATE run SET writer = '', state = 'done'");
}

BOOST_AUTO_TEST_CASE(one_whose_run_was_taken_over_writes_no_more) {
  for (const bool has_ended : {false, true}) {
    const TemporaryFolder folder;
    auto run = std::make_optional(RunStore::create(folder / "store", sample_description()));
    run->attempt_started();
    run->stage_started(0, "mlp");
    run->record(sample_metric("distill/loss", 1.0, 0, 1));
    run->flush();
    take_over(*run, has_ended);
    const std::string taken = "was taken over by another-host process 12";
    BOOST_TEST(throws_with<StorageError>([&] { run->flush(); }, taken));
    run->record(sample_metric("distill/loss", 2.0, 0, 2));
    BOOST_TEST(throws_with<StorageError>([&] { run->flush(); }, taken));
    BOOST_TEST(throws_with<StorageError>([&] { run->set_state(RunState::interrupted); }, taken));
    BOOST_TEST(throws_with<StorageError>([&] { run->attempt_started(); }, taken));
    BOOST_TEST(throws_with<StorageError>([&] { run->forget_stages_from(0); }, taken));
    const auto at = run->folder();
    run.reset();  // its last words are not written either
    const RunReader reader(at);
    BOOST_TEST(reader.metrics().size() == 1u);
    BOOST_TEST(reader.status().writer == (has_ended ? "" : "another-host 12 34 m"));
    BOOST_TEST((reader.status().state == (has_ended ? RunState::done : RunState::created)));
  }
}

BOOST_AUTO_TEST_CASE(a_later_incarnation_of_a_job_takes_the_run_from_one_that_still_writes) {
  const TemporaryFolder folder;
  const EnvironmentVariable job("SLURM_JOB_ID", "77");
  std::string id;
  const pid_t former = ::fork();
  if (former == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    auto run = RunStore::create(folder / "store", sample_description());
    run.attempt_started();
    ::pause();
  }
  BOOST_TEST_REQUIRE(former > 0);
  const auto runs = std::filesystem::path(folder / "store") / "runs";
  for (int i = 0; i < 500 && id.empty(); ++i) {
    ::usleep(10'000);
    for (const auto& listing : list_run_folders(folder / "store")) {
      if (!RunReader(listing.folder).attempts().empty()) id = listing.id;
    }
  }
  BOOST_TEST_REQUIRE(!id.empty());
  BOOST_TEST(throws_with<StorageError>([&] { RunStore::open(folder / "store", id); }, "is being written by another process"));
  {
    const EnvironmentVariable restart("SLURM_RESTART_COUNT", "1");
    auto run = RunStore::open(folder / "store", id);
    BOOST_TEST(run.attempt_started() == 2);
  }
  ::kill(former, SIGKILL);
  ::waitpid(former, nullptr, 0);
}

BOOST_AUTO_TEST_CASE(processes_that_write_their_runs_and_one_that_reads_all_share_a_store) {
  const TemporaryFolder store;
  std::vector<std::string> ids;
  for (int i = 0; i < 2; ++i) {
    auto run = RunStore::create(store.path(), sample_description());
    ids.push_back(run.id());
    run.stage_started(0, "stage");
    run.set_state(RunState::running);
  }
  Writer first(store.path(), ids[0], 0, store / "said.0"), second(store.path(), ids[1], 0, store / "said.1");
  first.wait_for_flush_after(0), second.wait_for_flush_after(0);
  for (int i = 0; i < 20; ++i) {
    const Index flushed[] = {first.last_flushed(), second.last_flushed()};
    update_index(store.path(), i % 2 == 0);
    const auto runs = indexed_runs(store.path());
    BOOST_REQUIRE(runs.size() == 2u);
    for (std::size_t r = 0; r < 2; ++r) {
      BOOST_REQUIRE_MESSAGE(runs[r].problem.empty(), runs[r].problem);
      BOOST_REQUIRE(runs[r].id == ids[r]);
      BOOST_REQUIRE(static_cast<Index>(RunReader(runs[r].folder).metrics().size()) > flushed[r]);
    }
  }
  first.wait_for_flush_after(first.last_flushed()), second.wait_for_flush_after(second.last_flushed());  // nobody was shut out
}

BOOST_AUTO_TEST_CASE(without_locks_of_the_file_system_a_run_is_written_killed_and_read_all_the_same) {
  ::setenv("KRONLAB_LOCKING", "none", 1);
  const TemporaryFolder store;
  std::string id;
  {
    auto run = RunStore::create(store.path(), sample_description());
    id = run.id();
    run.stage_started(0, "stage");
    const LockingReader by_fcntl(run.folder());  // nobody looks at its lock
    run.record(sample_metric("m/v", -1, 0));
    run.set_patience(0.0);
    run.flush();
    run.forget_stages_from(0);
    run.stage_started(0, "stage");
  }
  Index next = 0;
  for (int round = 0; round < 8; ++round) {
    Writer writer(store.path(), id, next, store / "said");
    writer.wait_for_flush_after(-1);
    writer.kill_now();
    const Index flushed = writer.last_flushed();
    next = static_cast<Index>(RunReader(store.path() / "runs" / id).metrics().size());
    BOOST_TEST(next > flushed);
  }
  expect_counting(store.path() / "runs" / id, next);
  ::setenv("KRONLAB_LOCKING", "flock", 1);
  BOOST_TEST(throws_with<StorageError>([&] { RunReader reader(store.path() / "runs" / id); }, "expected fcntl or none"));
  ::unsetenv("KRONLAB_LOCKING");
}

BOOST_AUTO_TEST_CASE(a_store_below_a_file_is_an_error_with_its_path) {
  const TemporaryFolder folder;
  write_bytes(folder / "file", "x");
  BOOST_TEST(throws_with<StorageError>([&] { RunStore::create(folder / "file", sample_description()); }, "file/runs"));
}

BOOST_AUTO_TEST_SUITE_END()
