#include "analysis/gnuplot.hpp"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "framework/base/error.hpp"
#include "framework/base/hash.hpp"

extern char** environ;

namespace kronlab::analysis {
namespace {

/// @throws StorageError if gnuplot is not there or fails
void run_gnuplot(const std::string& script_path) {
  const char* const words[] = {"gnuplot", script_path.c_str(), nullptr};
  pid_t process = 0;
  const int failed = ::posix_spawnp(&process, "gnuplot", nullptr, nullptr, const_cast<char**>(words), environ);
  if (failed != 0) {
    throw StorageError(fmt::format("cannot start gnuplot (Debian: gnuplot-nox): {}", std::strerror(failed)));
  }
  int status = 0;
  while (::waitpid(process, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) throw StorageError("gnuplot failed; its words are above");
}

}  // namespace

std::string quoted(const std::string& text) {
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? std::string("''") : c == '\n' ? std::string(" ") : std::string(1, c);
  return result + "'";
}

std::string plain_quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) result += c == '"' || c == '\n' || c == '\\' || c == '`' ? ' ' : c;
  return result + "\"";
}

std::string picture_of_size(std::size_t width, std::size_t height) {
  return fmt::format("set terminal pngcairo size {},{} font 'DejaVu Sans,12' background rgb 'white'\nset encoding utf8\nset tics nomirror out\nset border 3\n", width, height);
}

void draw_picture(const std::string& script_text, const std::string& out) {
  namespace fs = std::filesystem;
  const std::string png = fmt::format("{}.{}.tmp", out, ::getpid()), script = png + ".gnuplot";
  const auto clean = [&] {
    std::error_code ignored;
    fs::remove(script, ignored);
    fs::remove(png, ignored);
  };
  try {
    write_file_atomically(script, fmt::format("set output {}\n{}set output\n", quoted(png), script_text));
    run_gnuplot(script);
    std::error_code code;
    fs::rename(png, out, code);
    if (code) throw StorageError(fmt::format("cannot write '{}': {}", out, code.message()));
  } catch (...) {
    clean();
    throw;
  }
  clean();
}

}  // namespace kronlab::analysis
