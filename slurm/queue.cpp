#include "slurm/queue.hpp"

#include <filesystem>
#include <sstream>
#include <vector>

#include "framework/base/error.hpp"
#include "framework/base/hash.hpp"
#include "slurm/command.hpp"

namespace kronlab::slurm {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, separator);) parts.push_back(part);
  return parts;
}

bool is_below(const fs::path& folder, const fs::path& store) {
  std::error_code code;
  return fs::equivalent(folder.parent_path().parent_path(), store, code);
}

}  // namespace

std::map<std::string, std::string> cells_of_queue(const std::string& lines, const std::string& store) {
  std::map<std::string, std::string> cells;
  for (const auto& line : split(lines, '\n')) {
    std::istringstream fields(line);
    std::string job, task, state, comment;
    if (!std::getline(fields, job, '|') || !std::getline(fields, task, '|') || !std::getline(fields, state, '|') || !std::getline(fields, comment)) continue;
    if (!comment.starts_with(comment_prefix)) continue;
    const fs::path folder = comment.substr(std::string(comment_prefix).size());
    const bool is_task = !task.empty() && task.find_first_not_of("0123456789") == std::string::npos;
    if (!is_task || !is_below(folder, store)) continue;
    const auto tasks = split(read_text_file((folder / "cells").string()), '\n');
    const auto number = static_cast<std::size_t>(std::stoul(task));
    if (number < 1 || number > tasks.size()) continue;
    for (const auto& cell : split(tasks[number - 1], ',')) cells[cell] = fmt::format("{}_{} ({})", job, task, state);
  }
  return cells;
}

std::map<std::string, std::string> queued_cells(const std::string& store) {
  const auto output = run_command({"squeue", "--me", "--array", "--noheader", "--format=%F|%K|%T|%k"});
  if (output.exit_code != 0) {
    throw StorageError(fmt::format("cannot ask Slurm what is queued (squeue ended with {}): {}", output.exit_code, output.err));
  }
  return cells_of_queue(output.out, store);
}

}  // namespace kronlab::slurm
