#include "analysis/gnuplot.hpp"

#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "framework/base/error.hpp"
#include "framework/base/hash.hpp"
#include "framework/base/text_table.hpp"

extern char** environ;

namespace kronlab::analysis {
namespace {

namespace fs = std::filesystem;

/// Fonts, borders: the same for all pictures.
constexpr const char* beginning = "set encoding utf8\nset tics nomirror out\nset border 3\n";

/// @throws ConfigError for an extension that stands for no format
std::string terminal_of(const std::string& out, const Drawing& drawing) {
  const std::string extension = fs::path(out).extension().string();
  const auto [width, height, script] = drawing;
  if (extension == ".png") return fmt::format("set terminal pngcairo size {:.0f},{:.0f} font 'DejaVu Sans,12' background rgb 'white'\n", width, height);
  if (extension == ".svg") return fmt::format("set terminal svg size {:.0f},{:.0f} font 'DejaVu Sans,12' background rgb 'white'\n", width, height);
  constexpr double pixels_per_inch = 96;  // as the PNG has them: texts are as large beside the drawing
  if (extension == ".pdf") return fmt::format("set terminal pdfcairo size {}in,{}in font 'DejaVu Sans,12' fontscale 0.72\n", width / pixels_per_inch, height / pixels_per_inch);
  throw ConfigError(fmt::format("'{}': expected a picture that ends with .png, .svg or .pdf", out));
}

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

/// The script does not stay.
void run_script(const std::string& script, const std::string& path) {
  write_file_atomically(path, script);
  std::error_code ignored;
  try {
    run_gnuplot(path);
  } catch (...) {
    fs::remove(path, ignored);
    throw;
  }
  fs::remove(path, ignored);
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

std::string cut_to(const std::string& text, std::size_t longest) {
  if (display_width(text) <= longest) return text;
  std::string cut;
  std::size_t width = 0;
  for (const char c : text) {
    const bool begins = (static_cast<unsigned char>(c) & 0xc0U) != 0x80U;
    if (begins && ++width > longest - 1) break;
    cut += c;
  }
  return cut + "…";
}

std::string grid(Medium medium) { return medium == Medium::picture ? "set grid lt 1 lw 0.6 lc rgb '#dddddd'\n" : ""; }

double terminal_columns() {
  ::winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 40) return size.ws_col;
  return 80;
}

void draw_picture(const Drawing& drawing, const std::string& out) {
  const std::string terminal = terminal_of(out, drawing);  // refused before anything is written
  const std::string picture = fmt::format("{}.{}.tmp", out, ::getpid());
  try {
    run_script(fmt::format("{}set output {}\n{}{}set output\n", terminal, quoted(picture), beginning, drawing.script), picture + ".gnuplot");
    std::error_code code;
    fs::rename(picture, out, code);
    if (code) throw StorageError(fmt::format("cannot write '{}': {}", out, code.message()));
  } catch (...) {
    std::error_code ignored;
    fs::remove(picture, ignored);
    throw;
  }
}

void draw_in_terminal(const Drawing& drawing) {
  const std::string terminal = fmt::format("set terminal dumb size {:.0f},{:.0f} noenhanced mono\n", drawing.width, drawing.height);
  run_script(terminal + beginning + drawing.script, (fs::temp_directory_path() / fmt::format("kronlab-plot-{}.gnuplot", ::getpid())).string());
}

}  // namespace kronlab::analysis
