#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kronlab::slurm {

/// How a program ended and what it said.
struct CommandOutput {
  int exit_code = 0;  ///< 127: there is no such program; 128 + the signal that ended it
  std::string out, err;
};

/// Runs a program, found on PATH, with these arguments and nothing on its standard input.
/// @throws StorageError if no process can be made
CommandOutput run_command(const std::vector<std::string>& words);

/// A word that a shell reads back as it is.
std::string quoted(std::string_view word);
/// The same for each, between blanks.
std::string quoted(const std::vector<std::string>& words);

}  // namespace kronlab::slurm
