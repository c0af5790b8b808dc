// soak [FAULTS [SEED [SECONDS]]]: a run on two ranks is disturbed again and again - by kills, signals, full disks, locks and
// ghosts of its former incarnations - until it is done, and has to come to the same bits as one that was left alone; then the next
// run. Ends after FAULTS (500) or SECONDS (3600), with 1 if anything was lost, wrong or hung. Needs to mount a tmpfs.
#include <SQLiteCpp/SQLiteCpp.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <thread>

#include "framework/base/progress.hpp"
#include "framework/base/random.hpp"
#include "framework/storage/run_database.hpp"
#include "tests/faults/disturbed_job.hpp"
#include "tests/support/small_file_system.hpp"

namespace {

using namespace kronlab;
using kronlab::testing::DisturbedJob;
namespace fs = std::filesystem;

constexpr double hang_s = 90.0;  ///< more than any wait that is right

void sleep_for(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

/// A shell command in a process group of its own, its words in a file.
class Process {
 public:
  Process(const std::string& command, const std::string& variables, std::string said) : said_(std::move(said)) {
    const std::string line = fmt::format("exec env -i PATH=\"$PATH\" HOME=\"$HOME\" OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1 "
                                         "OMP_WAIT_POLICY=passive KRONLAB_OVERSUBSCRIBE=1 {} {} >{} 2>&1 </dev/null",
                                         variables, command, said_);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::setpgid(0, 0);
      ::execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
      ::_exit(127);
    }
  }
  ~Process() {
    if (is_running()) ::kill(pid_, SIGKILL), ::waitpid(pid_, &status_, 0);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  bool is_running() {
    if (!is_over_ && ::waitpid(pid_, &status_, WNOHANG) == pid_) is_over_ = true;
    return !is_over_;
  }
  /// False: it hangs.
  bool wait(double limit_s = hang_s) {
    for (const double until = now_s() + limit_s; is_running();) {
      if (now_s() > until) return false;
      sleep_for(0.02);
    }
    return true;
  }
  void send(int signal) const { ::kill(pid_, signal); }
  int exit_code() const { return WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_); }
  std::string said() const { return read_text_file(said_); }
  /// Its ranks: processes `kronlab` below mpirun.
  std::vector<pid_t> ranks() const {
    std::vector<pid_t> found;
    std::FILE* pipe = ::popen(fmt::format("pgrep -P {} -x kronlab", pid_).c_str(), "r");
    for (int pid = 0; pipe && std::fscanf(pipe, "%d", &pid) == 1;) found.push_back(pid);
    if (pipe) ::pclose(pipe);
    return found;
  }

 private:
  std::string said_;
  pid_t pid_ = -1;
  int status_ = 0;
  bool is_over_ = false;
};

class Soak {
 public:
  explicit Soak(std::uint64_t seed) : random_(seed) {}

  int run(int num_faults, double limit_s) {
    if (!disk_.is_mounted()) return std::puts("soak: cannot mount a tmpfs here"), 2;
    Process undisturbed(job_.command(job_.folder / "undisturbed"), "", job_.folder / "said");
    const double started_s = now_s();
    if (!undisturbed.wait() || undisturbed.exit_code() != 0) return std::printf("soak: the undisturbed run failed:\n%s\n", undisturbed.said().c_str()), 1;
    run_s_ = now_s() - started_s;
    expected_ = DisturbedJob::results_of(job_.folder / "undisturbed");
    std::printf("undisturbed: %.1f s\n", run_s_);
    while (num_done_ < num_faults && now_s() - started_s < limit_s && num_hung_ == 0) {
      one_run(num_faults);
      ++num_runs_;
      std::printf("%4d runs, %4d faults, %d wrong, %d lost, %d hung, %.0f s\n", num_runs_, num_done_, num_wrong_, num_lost_, num_hung_, now_s() - started_s);
      std::fflush(stdout);
    }
    for (const auto& [kind, count] : counts_) std::printf("  %-46s %4d\n", kind.c_str(), count);
    return num_wrong_ + num_lost_ + num_hung_ == 0 ? 0 : 1;
  }

 private:
  /// Uniform in [0, n).
  int draw(int n) { return static_cast<int>(random_.uniform() * n); }
  double moment() { return random_.uniform() * run_s_; }

  void one_run(int num_faults) {
    std::error_code ignored;
    fs::remove_all(store_, ignored);
    const int most = 1 + draw(6);
    bool is_done = false;
    for (int i = 0; i < most && num_done_ < num_faults && !is_done && num_hung_ == 0; ++i) {
      const auto before = recorded();
      disturb();
      ++num_done_;
      expect_kept(before);
      is_done = state() == "done";
    }
    if (num_hung_ > 0) return;
    Process last(job_.command(store_, 1 + draw(3)), "", said_);
    if (!last.wait()) return hung("the last one", last);
    std::string results;
    try {
      results = last.exit_code() == 0 ? DisturbedJob::results_of(store_) : "";
    } catch (const std::exception& error) {
      results = error.what();
    }
    if (results == expected_ && storage::indexed_runs(store_).size() == 1) return;
    ++num_wrong_;
    std::printf("WRONG: exit code %d, %zu runs\n%s\n%s\n", last.exit_code(), storage::indexed_runs(store_).size(), last.said().c_str(), results.substr(0, 2000).c_str());
  }

  std::string state() const {
    if (!fs::exists(store_ + "/runs")) return "";
    const auto runs = storage::indexed_runs(store_);
    return runs.empty() ? "" : storage::to_string(runs.at(0).status.state);
  }

  /// Metrics of the compressions, which no training that goes on does again.
  std::vector<double> recorded() const {
    std::vector<double> values;
    if (!fs::exists(store_ + "/runs")) return values;
    for (const auto& run : storage::indexed_runs(store_)) {
      if (!run.problem.empty() || !fs::exists(run.folder / "checkpoints/stage-0/COMPRESSED")) continue;
      for (const auto& metric : storage::RunReader(run.folder).metrics("eval/perplexity")) values.push_back(metric.value);
    }
    return values;
  }

  void expect_kept(const std::vector<double>& before) {
    if (!fs::exists(store_ + "/runs")) return;
    for (const auto& run : storage::indexed_runs(store_)) {
      if (!run.problem.empty()) lost(fmt::format("{}: {}", run.id, run.problem));
      SQLite::Database database((run.folder / "run.sqlite").string(), SQLite::OPEN_READWRITE, 10'000);
      const std::string health = database.execAndGet("PRAGMA integrity_check").getString();
      if (health != "ok") lost(fmt::format("{}: {}", run.id, health));
    }
    const auto after = recorded();
    if (after.size() < before.size() || !std::equal(before.begin(), before.end(), after.begin()))
      lost(fmt::format("{} perplexities before, {} after", before.size(), after.size()));
  }

  void lost(const std::string& what) {
    ++num_lost_;
    std::printf("LOST: %s\n", what.c_str());
  }
  void hung(const std::string& what, const Process& process) {
    ++num_hung_;
    std::printf("HUNG: %s\n%s\n", what.c_str(), process.said().c_str());
  }

  void disturb() {
    switch (draw(7)) {
      case 0: return kill_a_rank();
      case 1: return kill_at_a_call();
      case 2: return ask_to_stop();
      case 3: return ask_for_checkpoints();
      case 4: return fill_the_disk();
      case 5: return hold_the_database();
      default: return meet_a_ghost();
    }
  }

  std::string command() { return job_.command(store_, 1 + draw(3)); }
  void wait(const std::string& what, Process& process) {
    ++counts_[what];
    if (!process.wait()) hung(what, process);
    sleep_for(0.1);  // mpirun may end a moment before the last of its ranks
  }

  void kill_a_rank() {
    Process process(command(), "", said_);
    sleep_for(moment());
    const auto ranks = process.ranks();
    if (!ranks.empty()) ::kill(ranks[static_cast<std::size_t>(draw(static_cast<int>(ranks.size())))], SIGKILL);
    wait(ranks.empty() ? "kill -9 of a rank, too late (not counted)" : "kill -9 of a rank", process);
    if (ranks.empty()) --num_done_;
  }

  void kill_at_a_call() {
    constexpr const char* calls[] = {"rename -", "sync run.sqlite", "sync step-", "H5Dwrite -", "MPI_Waitall -"};
    const std::string fault = fmt::format("kill {} {} {}", calls[draw(5)], draw(2), 1 + draw(12));
    Process process(job_.command(store_, 2), fmt::format("LD_PRELOAD={} KRONLAB_FAULT='{}'", kronlab::testing::program_path("tests/libkronlab_fault.so"), fault), said_);
    wait("kill -9 in a rename, flush, HDF5 write or message", process);
  }

  void ask_to_stop() {
    Process process(command(), "", said_);
    sleep_for(moment());
    constexpr int signals[] = {SIGTERM, SIGUSR2, SIGINT};
    const int signal = signals[draw(3)];
    const auto ranks = process.ranks();
    if (draw(2) == 0 || ranks.empty()) {
      process.send(signal);
    } else {
      ::kill(ranks[static_cast<std::size_t>(draw(static_cast<int>(ranks.size())))], signal);
    }
    wait(fmt::format("{}", ::strsignal(signal)), process);
  }

  void ask_for_checkpoints() {
    Process process(command(), "", said_);
    sleep_for(0.3);  // of a rank that a signal ends before its program begins mpirun may never hear
    for (int i = 0; i < 3; ++i) {
      sleep_for(moment() / 3);
      for (const pid_t rank : process.ranks()) {
        if (draw(2) == 0) ::kill(rank, SIGUSR1);
      }
    }
    wait("checkpoints asked for (SIGUSR1)", process);
  }

  void fill_the_disk() {
    Process process(command(), "", said_);
    sleep_for(moment());
    disk_.fill();
    wait("full disk", process);
    disk_.free();
  }

  void hold_the_database() {
    Process process(command(), "", said_);
    sleep_for(moment());
    try {
      for (const auto& run : storage::list_run_folders(store_)) {
        SQLite::Database database((run.folder / "run.sqlite").string(), SQLite::OPEN_READWRITE, 2000);
        SQLite::Transaction transaction(database, SQLite::TransactionBehavior::EXCLUSIVE);
        sleep_for(0.2 + 1.5 * random_.uniform());
      }
    } catch (const std::exception&) {  // nothing there yet, or the run was writing
    }
    wait("database held", process);
  }

  /// A job that is started again while its former incarnation is only asleep, as on a node that was cut off.
  void meet_a_ghost() {
    Process ghost(command(), "SLURM_JOB_ID=77 SLURM_RESTART_COUNT=0", said_ + "-ghost");
    sleep_for(moment());
    const auto ranks = ghost.ranks();
    for (const pid_t rank : ranks) ::kill(rank, SIGSTOP);
    Process process(command(), "SLURM_JOB_ID=77 SLURM_RESTART_COUNT=1", said_);
    sleep_for(0.7 * moment());
    for (const pid_t rank : ranks) ::kill(rank, SIGCONT);
    wait("two incarnations at a time", process);
    if (!ghost.wait()) hung("a ghost", ghost);
    if (process.exit_code() != 0) {
      ++num_wrong_;
      std::printf("WRONG: the later incarnation ended with %d\n%s\n%s\n", process.exit_code(), process.said().c_str(), ghost.said().c_str());
    }
  }

  RandomStream random_;
  DisturbedJob job_;
  kronlab::testing::SmallFileSystem disk_{64 * 1024};
  std::string store_ = disk_ / "store", said_ = job_.folder / "said", expected_;
  double run_s_ = 0.0;
  int num_runs_ = 0, num_done_ = 0, num_wrong_ = 0, num_lost_ = 0, num_hung_ = 0;
  std::map<std::string, int> counts_;
};

}  // namespace

int main(int argc, char** argv) try {
  kronlab::silence_log();
  const int faults = argc > 1 ? std::atoi(argv[1]) : 500;
  const auto seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : static_cast<unsigned long long>(::getpid());
  std::printf("soak: %d faults, seed %llu\n", faults, seed);
  return Soak(seed).run(faults, argc > 3 ? std::atof(argv[3]) : 3600.0);
} catch (const std::exception& error) {
  std::fprintf(stderr, "soak: %s\n", error.what());
  return 1;
}
