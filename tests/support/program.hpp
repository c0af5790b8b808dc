#pragma once

#include <cstdlib>
#include <string>

#include "framework/base/hash.hpp"
#include "tests/support/test_data.hpp"

namespace kronlab::testing {

/// How a program ended and what it said.
struct ProgramOutput {
  int exit_code = 0;  ///< 124: it took longer than the limit
  std::string out, err;
};

/// The path of a program of this build, e.g. "bin/kronlab".
inline std::string program_path(const std::string& relative) {
  const char* folder = std::getenv("KRONLAB_BINARY_DIR");
  return std::string(folder ? folder : "build/release") + "/" + relative;
}

/// Runs a shell command in an environment of its own (that of a test is full of its MPI), with `variables` such as
/// "SLURM_NTASKS=3"; killed after `limit_s`.
inline ProgramOutput run_program(const std::string& command, const std::string& variables = "", int limit_s = 120) {
  const TemporaryFolder folder;
  const std::string clean =
      "env -i PATH=\"$PATH\" HOME=\"$HOME\" TMPDIR=\"${TMPDIR:-/tmp}\" OMPI_ALLOW_RUN_AS_ROOT=1 "
      "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 "
      "OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive KRONLAB_OVERSUBSCRIBE=1 ";
  const std::string out = folder / "out", err = folder / "err";
  const int status = std::system((clean + variables + " timeout -k 5 " + std::to_string(limit_s) + " " + command +
                                  " >" + out + " 2>" + err + " </dev/null")
                                     .c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read_text_file(out), read_text_file(err)};
}

}  // namespace kronlab::testing
