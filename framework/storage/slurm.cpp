#include "framework/storage/slurm.hpp"

#include <fmt/format.h>
#include <sys/wait.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <tuple>

#include "framework/base/error.hpp"
#include "framework/base/hash.hpp"

namespace kronlab::storage {
namespace {

struct Answer {
  int status = -1;  ///< 0: it worked
  std::string text;
};

Answer ask(const std::string& command) {
  std::FILE* pipe = ::popen(command.c_str(), "r");
  if (!pipe) return {};
  Answer answer;
  for (char part[4096]; const std::size_t n = std::fread(part, 1, sizeof part, pipe);) answer.text.append(part, n);
  answer.status = ::pclose(pipe);
  return answer;
}

/// What may stand in a command line as it is: "17", "17_3".
bool is_job(const std::string& text) {
  return !text.empty() && std::ranges::all_of(text, [](unsigned char c) { return std::isdigit(c) || c == '_'; });
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, separator);) parts.push_back(part);
  return parts;
}

/// What a file in the folder of a submission has on the line of a task; none if it cannot be read.
std::vector<std::string> parts_of_task(const std::filesystem::path& file, const std::string& task, char separator) {
  if (task.empty() || task.size() > 9 || task.find_first_not_of("0123456789") != std::string::npos) return {};
  try {
    const auto lines = split(read_text_file(file.string()), '\n');
    const auto number = static_cast<std::size_t>(std::stoul(task));
    return number < 1 || number > lines.size() ? std::vector<std::string>() : split(lines[number - 1], separator);
  } catch (const Error&) {
    return {};
  }
}

}  // namespace

std::string slurm_job() {
  const char* job = std::getenv("SLURM_JOB_ID");
  return job ? job : "";
}

Index slurm_restart() {
  const char* count = std::getenv("SLURM_RESTART_COUNT");
  return count ? std::atoi(count) : 0;
}

bool slurm_job_is_gone(const std::string& job) {
  if (!is_job(job)) return false;
  const auto answer = ask("squeue --noheader --format=%T --jobs=" + job + " 2>&1");
  // Slurm forgets old jobs: then it is an error that says so.
  return (answer.status == 0 && answer.text.empty()) || answer.text.find("Invalid job id") != std::string::npos;
}

std::vector<QueuedJob> queued_jobs(const std::string& lines) {
  std::vector<QueuedJob> jobs;
  for (const auto& line : split(lines, '\n')) {
    auto fields = split(line, '|');
    if (fields.size() < 8) continue;
    fields.resize(9);  // an empty comment
    const auto& [id, array, task, comment] = std::tie(fields[0], fields[1], fields[2], fields[8]);
    const bool is_task = !task.empty() && task.find_first_not_of("0123456789") == std::string::npos;
    QueuedJob job{id, is_task ? fmt::format("{}_{}", array, task) : id, fields[3], fields[4], fields[5], fields[6], fields[7], {}, {}};
    if (comment.starts_with(slurm_comment_prefix)) {
      const std::filesystem::path folder = comment.substr(std::string(slurm_comment_prefix).size());
      job.cells = parts_of_task(folder / "cells", task, ','), job.labels = parts_of_task(folder / "labels", task, '\t');
    }
    jobs.push_back(std::move(job));
  }
  return jobs;
}

std::optional<std::vector<QueuedJob>> slurm_queue() {
  const auto answer = ask(fmt::format("squeue --me --array --noheader --format='{}' 2>/dev/null", squeue_format));
  if (answer.status != 0) return std::nullopt;
  return queued_jobs(answer.text);
}

std::string slurm_end_of(const std::string& job) {
  if (!is_job(job)) return {};
  const auto answer = ask("sacct --allocations --noheader --parsable2 --format=State,ExitCode,NodeList --jobs=" + job + " 2>/dev/null");
  const auto fields = split(answer.text.substr(0, answer.text.find('\n')), '|');
  if (answer.status != 0 || fields.size() < 2 || fields[0].empty()) return {};
  std::string text = fields[0];
  if (fields[1] != "0:0") text += ", exit code " + fields[1];
  if (fields.size() > 2 && !fields[2].empty() && fields[2] != "None assigned") text += " on " + fields[2];
  return text;
}

}  // namespace kronlab::storage
