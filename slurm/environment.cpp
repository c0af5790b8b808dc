#include "slurm/environment.hpp"

#include <fmt/format.h>

#include <cstdlib>

#include "framework/base/hash.hpp"
#include "slurm/command.hpp"

namespace kronlab::slurm {

std::string environment_text(const std::string& program) {
  std::string text;
  for (const char* name : {"LOADEDMODULES", "MODULEPATH", "PATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "CONDA_PREFIX", "VIRTUAL_ENV"}) {
    if (const char* value = std::getenv(name)) text += fmt::format("{}={}\n", name, value);
  }
  text += fmt::format("\n{}\nsha256 {}\nversion {}", program, sha256_of_file(program), run_command({"env", "OMP_NUM_THREADS=1", program, "--version"}).out);
  return text + "\n" + run_command({"ldd", program}).out;
}

}  // namespace kronlab::slurm
