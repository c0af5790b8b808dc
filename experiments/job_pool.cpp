#include "experiments/job_pool.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <thread>

#include "framework/base/progress.hpp"
#include "framework/base/stop_request.hpp"

namespace kronlab::experiments {
namespace {

using nlohmann::json;

/// The command line of one of `count` jobs: as this one's, but for what is for people.
std::vector<std::string> words_of_job(const RunArguments& arguments, int count) {
  std::vector<std::string> words;
  for (std::size_t i = 0; i < arguments.command_line.size(); ++i) {
    const auto& word = arguments.command_line[i];
    if (word == "--jobs") ++i;  // and its number
    if (word == "--jobs" || word.starts_with("--jobs=") || word == "--quiet" || word == "--json") continue;
    words.push_back(word);
  }
  words.insert(words.end(), {"--json", "--one-of", std::to_string(count)});
  return words;
}

/// As this process found it, not as MPI left it.
std::vector<std::string> environment_of_job(const RunArguments& arguments, int count) {
  auto environment = arguments.environment;
  std::erase_if(environment, [](const std::string& entry) { return entry.starts_with("OMP_NUM_THREADS="); });
  const bool is_given = environment.size() != arguments.environment.size();
  const int cores = static_cast<int>(std::thread::hardware_concurrency());  // that this process may use
  const int threads = is_given ? arguments.threads : std::max(1, cores / count);
  if (count * threads > cores && !arguments.may_oversubscribe)
    throw ConfigError(fmt::format("{} job(s) of {} thread(s), but they may use {} core(s): give fewer --jobs, set OMP_NUM_THREADS, or pass --oversubscribe", count, threads, cores));
  environment.push_back(fmt::format("OMP_NUM_THREADS={}", threads));
  return environment;
}

void expect_no_launcher(const RunArguments& arguments) {
  for (const auto& entry : arguments.environment) {
    for (const char* name : {"OMPI_COMM_WORLD_SIZE=", "PMIX_RANK="}) {
      if (entry.starts_with(name)) throw ConfigError("--jobs starts processes of its own: expected to be started without mpirun or srun");
    }
  }
}

std::vector<char*> pointers_to(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (auto& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

/// A process of the sweep, what it says and what it answers.
class Job {
 public:
  Job(int number, std::vector<std::string> words, std::vector<std::string> environment) : number_(number) {
    int words_pipe[2], answer_pipe[2];
    if (::pipe2(words_pipe, O_CLOEXEC) != 0 || ::pipe2(answer_pipe, O_CLOEXEC) != 0) fail();
    const auto argv = pointers_to(words), envp = pointers_to(environment);
    process_ = ::fork();
    if (process_ < 0) fail();
    if (process_ == 0) {  // only what may be called between fork and exec
      ::setpgid(0, 0);    // Ctrl-C is handed on once, not also sent by the terminal
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::dup2(answer_pipe[1], STDOUT_FILENO);
      ::dup2(words_pipe[1], STDERR_FILENO);
      ::execve("/proc/self/exe", argv.data(), envp.data());
      ::_exit(127);
    }
    ::close(words_pipe[1]), ::close(answer_pipe[1]);
    words_ = words_pipe[0], answer_ = answer_pipe[0];
  }
  ~Job() {
    if (process_ > 0) ::kill(process_, SIGKILL), ::waitpid(process_, nullptr, 0);
    ::close(words_), ::close(answer_);
  }
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  void send(int signal) const {
    if (process_ > 0) ::kill(process_, signal);
  }
  pollfd watched_words() const { return {are_words_over_ ? -1 : words_, POLLIN, 0}; }
  pollfd watched_answer() const { return {is_answer_over_ ? -1 : answer_, POLLIN, 0}; }

  void read_words(bool is_quiet) {
    are_words_over_ = !read_some(words_, said_);
    for (std::size_t end; (end = said_.find('\n')) != std::string::npos; said_.erase(0, end + 1)) {
      if (!is_quiet) std::fprintf(stderr, "[%d] %s\n", number_, said_.substr(0, end).c_str());
      last_words_ = said_.substr(0, end);
    }
  }
  void read_answer() { is_answer_over_ = !read_some(answer_, answered_); }
  bool is_over() const { return are_words_over_ && is_answer_over_; }

  /// Waits for the process to end. @return its runs; says if it has none
  std::vector<EndedRun> runs() {
    int status = 0;
    ::waitpid(process_, &status, 0);
    process_ = -1;
    std::vector<EndedRun> runs;
    try {
      const json answer = json::parse(answered_);
      for (const auto& run : answer.at("runs")) runs.push_back(ended_run_from(run));
    } catch (const json::exception&) {
      const std::string how = WIFSIGNALED(status) ? fmt::format("was ended by signal {}", WTERMSIG(status)) : fmt::format("ended with {}", WEXITSTATUS(status));
      log_error(fmt::format("job {} {} without an answer{}{}", number_, how, last_words_.empty() ? "" : "; its last words: ", last_words_));
    }
    return runs;
  }

 private:
  [[noreturn]] static void fail() { throw StorageError(fmt::format("cannot start a job: {}", std::strerror(errno))); }

  static bool read_some(int from, std::string& to) {
    char part[4096];
    const auto size = ::read(from, part, sizeof part);
    if (size < 0) return errno == EINTR;
    to.append(part, static_cast<std::size_t>(size));
    return size > 0;
  }

  int number_;
  pid_t process_ = -1;
  int words_ = -1, answer_ = -1;
  std::string said_, last_words_, answered_;
  bool are_words_over_ = false, is_answer_over_ = false;
};

/// What a job tells of a run that another one may know better of.
int weight_of(const EndedRun& run) {
  if (run.is_done()) return run.summary.was_done_before ? 3 : 4;
  if (run.code == ExitCode::checkpointed) return 2;
  return run.is_held() ? 0 : 1;
}

}  // namespace

std::vector<EndedRun> run_by_jobs(const RunArguments& arguments, std::size_t num_runs) {
  expect_no_launcher(arguments);
  const int count = static_cast<int>(std::min<std::size_t>(static_cast<std::size_t>(arguments.jobs), std::max<std::size_t>(num_runs, 1)));
  std::vector<std::unique_ptr<Job>> jobs;
  for (int number = 1; number <= count; ++number) jobs.push_back(std::make_unique<Job>(number, words_of_job(arguments, count), environment_of_job(arguments, count)));
  log_info(fmt::format("{} jobs on {} run(s)", count, num_runs));
  bool was_stopped = false;
  while (std::ranges::any_of(jobs, [](const auto& job) { return !job->is_over(); })) {
    std::vector<pollfd> watched;
    for (const auto& job : jobs) watched.push_back(job->watched_words()), watched.push_back(job->watched_answer());
    if (::poll(watched.data(), watched.size(), 200) > 0) {
      for (std::size_t i = 0; i < jobs.size(); ++i) {
        if (watched[2 * i].revents != 0) jobs[i]->read_words(arguments.is_quiet);
        if (watched[2 * i + 1].revents != 0) jobs[i]->read_answer();
      }
    }
    if (StopRequest::take_checkpoint()) {
      for (const auto& job : jobs) job->send(SIGUSR1);
    }
    if (StopRequest::is_stop_wanted() && !was_stopped) {
      was_stopped = true;
      for (const auto& job : jobs) job->send(SIGUSR2);
    }
  }
  std::vector<std::optional<EndedRun>> best(num_runs);
  for (const auto& job : jobs) {
    const auto runs = job->runs();
    for (std::size_t i = 0; i < std::min(runs.size(), num_runs); ++i) {
      if (!best[i] || weight_of(runs[i]) > weight_of(*best[i])) best[i] = runs[i];
    }
  }
  std::vector<EndedRun> all;
  for (auto& run : best) {
    if (run) all.push_back(std::move(*run));
  }
  return all;
}

}  // namespace kronlab::experiments
