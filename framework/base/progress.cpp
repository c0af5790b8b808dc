#include "framework/base/progress.hpp"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "framework/base/sign_of_life.hpp"

namespace kronlab {
namespace {

constexpr double log_interval_s = 10.0;

bool silenced = false, quiet = false;
bool has_live_line = false;  ///< on the terminal, to be rewritten or removed

bool is_log_broken = false;  ///< the log file could not be written: said once

spdlog::logger& logger() {
  static const auto instance = [] {
    auto made = std::make_shared<spdlog::logger>("kronlab", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%H:%M:%S  %v");
    made->set_error_handler([](const std::string& reason) {  // a full disk: words are not worth a run
      if (!std::exchange(is_log_broken, true)) std::fprintf(stderr, "warning: words are missing in the log file from here on: %s\n", reason.c_str());
    });
    return made;
  }();
  return *instance;
}

bool on_terminal() {
  static const bool result = isatty(STDERR_FILENO) != 0;
  return result;
}

void remove_live_line() {
  if (!has_live_line) return;
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
  has_live_line = false;
}

void log(spdlog::level::level_enum level, std::string_view message) {
  if (silenced) return;
  remove_live_line();
  logger().log(level, "{}", message);
}

}  // namespace

void silence_log() { silenced = true; }

void quiet_log() {
  quiet = true;
  logger().sinks().front()->set_level(spdlog::level::err);
}

void log_info(std::string_view message) { log(spdlog::level::info, message); }
void log_warning(std::string_view message) { log(spdlog::level::warn, fmt::format("warning: {}", message)); }
void log_error(std::string_view message) { log(spdlog::level::err, fmt::format("error: {}", message)); }

void log_to_file(const std::string& path) {
  auto& sinks = logger().sinks();
  logger().flush();
  sinks.resize(1);
  if (path.empty() || silenced) return;
  is_log_broken = false;
  try {
    sinks.push_back(std::make_shared<spdlog::sinks::basic_file_sink_mt>(path));
  } catch (const spdlog::spdlog_ex& error) {
    throw StorageError(fmt::format("log file '{}': {}", path, error.what()));
  }
  sinks.back()->set_formatter(std::make_unique<spdlog::pattern_formatter>("%Y-%m-%dT%H:%M:%SZ  %v", spdlog::pattern_time_type::utc));
  logger().flush_on(spdlog::level::info);
}

void log_quietly(std::string_view message) {
  const auto& sinks = logger().sinks();
  if (silenced || sinks.size() < 2) return;
  spdlog::logger file(logger().name(), sinks.back());
  file.info("{}", message);
  file.flush();
}

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string format_duration(double seconds) {
  if (seconds < 10) return fmt::format("{:.1f} s", seconds);
  const auto s = static_cast<Index>(seconds + 0.5);
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{} min {:02} s", s / 60, s % 60);
  return fmt::format("{} h {:02} min", s / 3600, s % 3600 / 60);
}

Progress::Progress(std::string what, Index total) : what_(std::move(what)), total_(total), started_s_(now_s()) {
  shown_s_ = logged_s_ = started_s_;
}

Progress::~Progress() { finish(); }

void Progress::update(Index done, std::string_view detail) {
  SignOfLife::give();
  done_ = done;
  if (silenced || done >= total_) return;
  const bool is_live = on_terminal() && !quiet;
  const double now = now_s();
  if (now - logged_s_ >= log_interval_s) {
    logged_s_ = now;
    is_live ? log_quietly(line(detail, false)) : log_info(line(detail, false));
  }
  if (!is_live || now - shown_s_ < 0.2) return;
  shown_s_ = now;
  std::fprintf(stderr, "\r\033[K%s", line(detail, false).c_str());
  std::fflush(stderr);
  has_live_line = true;
}

void Progress::finish(std::string_view detail) {
  if (finished_) return;
  finished_ = true;
  log_info(line(detail, true));
}

std::string Progress::line(std::string_view detail, bool last) const {
  const double elapsed_s = now_s() - started_s_;
  std::string text = fmt::format("{}  {}/{}", what_, done_, total_);
  if (!detail.empty()) text += fmt::format("  {}", detail);
  if (last) return text + fmt::format("  in {}", format_duration(elapsed_s));
  if (done_ == 0) return text;
  const auto left = static_cast<double>(std::max<Index>(total_ - done_, 0)) / static_cast<double>(done_) * elapsed_s;
  return text + fmt::format("  {} left", format_duration(left));
}

}  // namespace kronlab
