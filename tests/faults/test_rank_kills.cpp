// A rank that is killed, or a disk that is full, at a chosen moment of a run on two ranks: the job ends soon, the record is whole,
// and the run goes on to the same bits as one that was left alone.
#include <unistd.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <chrono>

#include "tests/faults/disturbed_job.hpp"
#include "tests/support/small_file_system.hpp"

using namespace kronlab;
using kronlab::testing::run_program;

namespace {

namespace fs = std::filesystem;

struct Job : kronlab::testing::DisturbedJob {
  kronlab::testing::ProgramOutput run(const std::string& store, const std::string& variables = "") const { return run_program(command(store), variables); }
  const std::string& undisturbed() const {
    static const std::string results = [&] {
      const auto output = run(folder / "undisturbed");
      BOOST_TEST_REQUIRE(output.exit_code == 0, output.err);
      return results_of(folder / "undisturbed");
    }();
    return results;
  }

  std::string fault_variables(const std::string& fault, const std::string& filler = "") const {
    return fmt::format("LD_PRELOAD={} KRONLAB_FAULT='{}' KRONLAB_FAULT_MARK={} KRONLAB_FAULT_FILLER={}", kronlab::testing::program_path("tests/libkronlab_fault.so"),
                       fault, folder / "mark", filler);
  }
  bool was_reached() const { return fs::exists(folder / "mark"); }
  double seconds_since_fault() const {
    return std::chrono::duration<double>(fs::file_time_type::clock::now() - fs::last_write_time(folder / "mark")).count();
  }
  /// The runs of a store once their processes are gone; mpirun may end a moment before the last of its ranks.
  std::vector<storage::IndexedRun> when_ended(const std::string& store) const {
    auto runs = storage::indexed_runs(store);
    while (seconds_since_fault() < 10.0 && std::ranges::any_of(runs, [](const auto& run) { return run.status.state == storage::RunState::running; })) {
      ::usleep(50'000);
      runs = storage::indexed_runs(store);
    }
    return runs;
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(rank_kills)

BOOST_FIXTURE_TEST_CASE(a_rank_that_is_killed_anywhere_ends_the_job_and_changes_no_bit, Job) {
  const std::pair<const char*, const char*> faults[] = {
      {"calibration", "kill rename cache/statistics 1 1"}, {"search", "kill rename /searches/ 1 2"},
      {"HDF5 write of a rank", "kill H5Dwrite - 1 2"},     {"HDF5 write of root", "kill H5Dwrite - 0 2"},
      {"factors", "kill rename factors.safetensors 0 1"},  {"training step", "kill MPI_Waitall - 1 9"},
      {"checkpoint, its files", "kill sync step-000000006 0 2"}, {"checkpoint, its name", "kill rename step-000000006 0 3"},
      {"first commit", "kill sync run.sqlite 0 1"},        {"a commit", "kill sync run.sqlite 0 12"},
      {"a later commit", "kill sync run.sqlite 0 31"},     {"arrays of the run", "kill rename arrays.h5 0 2"}};
  for (const auto& [what, fault] : faults) {
    const std::string store = folder / "store";
    fs::remove_all(store);
    fs::remove(folder / "mark");
    const auto killed = run(store, fault_variables(fault));
    BOOST_TEST_REQUIRE(was_reached(), what << ": the call was not reached");
    BOOST_TEST(killed.exit_code != 0, what);
    const auto runs = when_ended(store);
    BOOST_TEST(seconds_since_fault() < 10.0, what << ": the job ended after " << seconds_since_fault() << " s");
    if (!runs.empty()) {
      const auto state = runs.at(0).status.state;
      const bool has_numbers = !storage::RunReader(runs.at(0).folder).metrics().empty();
      BOOST_TEST((state == (has_numbers ? storage::RunState::interrupted : storage::RunState::lost)), what << ": " << storage::to_string(state));
    }
    const auto resumed = run(store);
    BOOST_TEST(resumed.exit_code == 0, what << ": " << resumed.err);
    BOOST_TEST(storage::indexed_runs(store).size() == 1u, what);
    BOOST_TEST(results_of(store) == undisturbed(), what);
  }
}

BOOST_FIXTURE_TEST_CASE(a_disk_that_fills_up_anywhere_is_a_clear_error_and_the_run_goes_on_once_there_is_space, Job) {
  const std::pair<const char*, const char*> faults[] = {{"arrays", "fill rename factors.safetensors 0 1"},
                                                        {"checkpoint", "fill sync step-000000006 0 1"},
                                                        {"database", "fill sync run.sqlite 0 12"},
                                                        {"searches", "fill rename /searches/ 1 2"},
                                                        {"arrays of the run", "fill rename values.safetensors 0 1"}};
  for (const auto& [what, fault] : faults) {
    const kronlab::testing::SmallFileSystem disk(16 * 1024);
    if (!disk.is_mounted()) {
      BOOST_TEST_MESSAGE("not run: no file system can be mounted here");
      return;
    }
    fs::remove(folder / "mark");
    const std::string store = disk / "store";
    const auto failed = run(store, fault_variables(fault, disk / "filler"));
    BOOST_TEST(was_reached(), what << ": the call was not reached");
    BOOST_TEST(failed.exit_code == 1, what << ": " << failed.exit_code << failed.err);
    const bool says_why = failed.err.find("No space left on device") != std::string::npos || failed.err.find("disk is full") != std::string::npos;
    BOOST_TEST(says_why, what << ": " << failed.err);
    disk.free();
    const auto resumed = run(store);
    BOOST_TEST(resumed.exit_code == 0, what << ": " << resumed.err);
    BOOST_TEST(results_of(store) == undisturbed(), what);
  }
}

BOOST_AUTO_TEST_SUITE_END()
