#include "framework/base/progress.hpp"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace kronlab {
namespace {

constexpr double log_interval_s = 10.0;

bool silenced = false;

spdlog::logger& logger() {
  static const auto instance = [] {
    auto made = std::make_shared<spdlog::logger>("kronlab", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%H:%M:%S  %v");
    return made;
  }();
  return *instance;
}

bool on_terminal() {
  static const bool result = isatty(STDERR_FILENO) != 0;
  return result;
}

}  // namespace

void silence_log() { silenced = true; }

void log_info(std::string_view message) {
  if (!silenced) logger().info("{}", message);
}

void log_warning(std::string_view message) {
  if (!silenced) logger().warn("warning: {}", message);
}

void log_to_file(const std::string& path) {
  auto& sinks = logger().sinks();
  logger().flush();
  sinks.resize(1);
  if (path.empty() || silenced) return;
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
  shown_s_ = noted_s_ = started_s_;
}

Progress::~Progress() { finish(); }

void Progress::update(Index done, std::string_view detail) {
  done_ = done;
  const double interval_s = on_terminal() ? 0.2 : log_interval_s;
  if (done < total_ && now_s() - shown_s_ >= interval_s) show(done, detail, false);
}

void Progress::finish(std::string_view detail) {
  if (finished_) return;
  finished_ = true;
  show(done_, detail, true);
}

void Progress::show(Index done, std::string_view detail, bool last) {
  if (silenced) return;
  shown_s_ = now_s();
  const double elapsed_s = shown_s_ - started_s_;
  std::string line = fmt::format("{}  {}/{}", what_, done, total_);
  if (!detail.empty()) line += fmt::format("  {}", detail);
  if (last) {
    line += fmt::format("  in {}", format_duration(elapsed_s));
  } else if (done > 0) {
    const auto left = static_cast<double>(std::max<Index>(total_ - done, 0)) / static_cast<double>(done) * elapsed_s;
    line += fmt::format("  {} left", format_duration(left));
  }
  if (on_terminal() && !last) {
    std::fprintf(stderr, "\r\033[K%s", line.c_str());
    std::fflush(stderr);
    if (shown_s_ - noted_s_ < log_interval_s) return;
    noted_s_ = shown_s_;
    log_quietly(line);
  } else {
    if (on_terminal()) std::fputs("\r\033[K", stderr);
    log_info(line);
  }
}

}  // namespace kronlab
