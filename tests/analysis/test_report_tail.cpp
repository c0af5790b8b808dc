#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <filesystem>
#include <functional>
#include <thread>

#include "framework/base/progress.hpp"
#include "framework/storage/run_database.hpp"
#include "tests/analysis/report_fixture.hpp"

using namespace kronlab;
using namespace kronlab::storage;
using namespace kronlab::testing;

namespace {

/// Another process that works while the test looks on; it ends as if it were killed.
class Writer {
 public:
  explicit Writer(const std::function<void()>& work) : pid_(::fork()) {
    BOOST_REQUIRE(pid_ >= 0);
    if (pid_ != 0) return;
    work();
    ::_exit(0);
  }
  ~Writer() { ::waitpid(pid_, nullptr, 0); }

 private:
  pid_t pid_;
};

void wait_for(const std::string& path) {
  while (!std::filesystem::exists(path)) std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

std::size_t times(const std::string& text, const std::string& words) {
  std::size_t count = 0;
  for (auto at = text.find(words); at != std::string::npos; at = text.find(words, at + 1)) ++count;
  return count;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(report_tail)

BOOST_AUTO_TEST_CASE(tail_tells_each_thing_once_and_ends_with_the_run) {
  const Store store;
  const std::string begun = store.folder / "begun", seen = store.folder / "out";
  const Writer writer([&] {
    auto run = RunStore::create(store.path, sample_description());
    run.set_state(RunState::running);
    log_to_file(attempt_log_path(run.folder(), run.attempt_started()).string());
    log_quietly("loading the model");
    run.stage_started(0, "mlp");
    run.record(sample_metric("distill/loss", 3.5, 0, 1));
    run.flush();
    write_bytes(begun, "");
    while (read_bytes(seen).find("distill/loss 3.5") == std::string::npos) ::usleep(5'000);
    log_quietly("half of it");
    run.record(sample_metric("distill/loss", 2.5, 0, 2));
    run.record(sample_metric("distill/kl", 0.5, 0, 2));
    run.flush();
    while (read_bytes(seen).find("distill/kl") == std::string::npos) ::usleep(5'000);
    run.stage_finished(0, 12.0);
    run.set_state(RunState::done);
    log_to_file("");
  });
  wait_for(begun);
  const Output output = store.report("tail --interval 0.05");
  BOOST_TEST(output.exit_code == 0, output.err);
  for (const char* words : {"Z  loading the model", "Z  half of it", "stage 0: mlp started", "stage 0, step 1: distill/loss 3.5\n",
                            "stage 0, step 2: distill/loss 2.5, distill/kl 0.5\n", "stage 0: mlp finished in 12 s"}) {
    BOOST_TEST(times(output.out, words) == 1u, words << " in " << output.out);
  }
  BOOST_TEST(output.out.ends_with("\ndone\n"), output.out);
}

BOOST_AUTO_TEST_CASE(tail_notices_that_the_writer_is_gone) {
  const Store store;
  const std::string begun = store.folder / "begun", seen = store.folder / "out";
  const Writer writer([&] {
    auto* run = new RunStore(RunStore::create(store.path, sample_description()));
    run->set_state(RunState::running);
    write_bytes(begun, "");
    while (read_bytes(seen).find("kronecker 4") == std::string::npos) ::usleep(5'000);
    // and ends here, without a word
  });
  wait_for(begun);
  const Output output = store.report("tail --interval 0.05");
  BOOST_TEST(output.out.ends_with("\nlost: its process is gone\n"), output.out);
}

BOOST_AUTO_TEST_CASE(tail_notices_a_writer_on_another_host_whose_claim_is_old) {
  const Store store;
  auto run = RunStore::create(store.path, sample_description());
  run.set_state(RunState::running);
  SQLite::Database(run.folder() / "run.sqlite", SQLite::OPEN_READWRITE).exec("UPDATE run SET writer = 'elsewhere 1 2'");
  const std::string claim = store.path + "/claims/" + sample_description().cell;
  std::filesystem::create_directories(store.path + "/claims");
  write_bytes(claim, "token\nelsewhere 1 2\n\n");
  BOOST_TEST(store.report("tail --once").out.ends_with("\nrunning\n"));
  std::filesystem::last_write_time(claim, std::filesystem::file_time_type::clock::now() - std::chrono::hours(1));
  BOOST_TEST(store.report("tail").out.ends_with("\nlost: no sign of life from elsewhere process 1\n"));
}

BOOST_AUTO_TEST_CASE(tail_once_shows_the_last_of_everything_and_does_not_wait) {
  const Store store;
  auto run = RunStore::create(store.path, sample_description());
  run.set_state(RunState::running);
  log_to_file(attempt_log_path(run.folder(), run.attempt_started()).string());
  for (int line = 0; line < 20; ++line) log_quietly(fmt::format("word {}", line));
  log_to_file("");
  run.stage_started(0, "mlp");
  for (int step = 1; step <= 50; ++step) run.record(sample_metric("distill/loss", step, 0, step));
  run.flush();
  const Output output = store.report("tail --once --lines 3");
  BOOST_TEST(times(output.out, "word ") == 3u);
  BOOST_TEST(output.has("word 19"));
  BOOST_TEST(times(output.out, "distill/loss") == 1u);
  BOOST_TEST(output.has("stage 0, step 50: distill/loss 50"));
  BOOST_TEST(output.out.ends_with("\nrunning\n"), output.out);
  const std::string first = run.id();
  auto other = labelled("newest", "1");
  RunStore::create(store.path, other).set_state(RunState::failed, "no such model");
  BOOST_TEST(store.report("tail").out.ends_with("failed: no such model\n"));
  BOOST_TEST(store.report("tail --once " + first).has("word 19"));
}

BOOST_AUTO_TEST_CASE(tail_leaves_steps_out_that_are_quicker_than_its_looks_but_no_other_numbers) {
  const Store store;
  const std::string begun = store.folder / "begun", seen = store.folder / "out";
  const Writer writer([&] {
    auto run = RunStore::create(store.path, sample_description());
    run.set_state(RunState::running);
    run.stage_started(0, "mlp");
    run.flush();
    write_bytes(begun, "");
    while (read_bytes(seen).find("mlp started") == std::string::npos) ::usleep(5'000);
    for (int step = 1; step <= 100; ++step) {
      run.record(sample_metric("distill/loss", step, 0, step));
      if (step == 40) run.record(sample_metric("distill/validation_loss", 0.25, 0, step));
    }
    run.set_state(RunState::done);
  });
  wait_for(begun);
  const Output output = store.report("tail --interval 0.05");
  BOOST_TEST(times(output.out, "distill/loss") == 1u + 3u, output.out);
  for (const char* words : {"(39 steps)\n", "step 40: distill/loss 40, distill/validation_loss 0.25\n", "(57 steps)\n", "step 98: ", "step 100: "})
    BOOST_TEST(times(output.out, words) == 1u, words << " in " << output.out);
}

BOOST_AUTO_TEST_CASE(tail_of_no_run_is_an_error) {
  const Store store;
  BOOST_TEST(store.report("tail").exit_code == 1);
  std::filesystem::create_directories(store.path + "/runs");
  BOOST_TEST(store.report("tail").exit_code == 2);
  BOOST_TEST(store.report("tail").has("has no run"));
  BOOST_TEST(store.report("tail nothing").has("no run 'nothing'"));
  BOOST_TEST(store.report("tail --interval 0").exit_code == 2);
}

BOOST_AUTO_TEST_SUITE_END()
