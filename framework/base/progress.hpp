#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "framework/base/types.hpp"

namespace kronlab {

/// Words for the user, on standard error (standard output belongs to results). Silenced on all ranks but root.
void log_info(std::string_view message);
void log_warning(std::string_view message);
void log_error(std::string_view message);
void silence_log();
/// From now on standard error has errors only and no progress; a file has everything still.
void quiet_log();
/// Appends every message to this file as well, a line with its time in UTC: "2026-11-24T05:13:00Z  words"; an empty path
/// stops that. @throws StorageError if it cannot be written
void log_to_file(const std::string& path);
/// Only into that file, where there is one: what a terminal shows otherwise.
void log_quietly(std::string_view message);

/// Seconds since some fixed moment; monotonic.
double now_s();

/// "4.2 s", "3 min 07 s", "2 h 05 min".
std::string format_duration(double seconds);

/// A progress line with an estimate of the time left: rewritten in place on a terminal; in files, and where standard error
/// is none, one line every 10 s.
class Progress {
 public:
  /// total: units of work, e.g. windows; what: "evaluating dense model"
  Progress(std::string what, Index total);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// `done` units are finished; `detail` is shown behind the numbers.
  void update(Index done, std::string_view detail = {});
  /// Ends the line and leaves its final state; called by the destructor too.
  void finish(std::string_view detail = {});

 private:
  std::string line(std::string_view detail, bool last) const;

  std::string what_;
  Index total_ = 0;
  Index done_ = 0;
  double started_s_ = 0.0;
  double shown_s_ = 0.0, logged_s_ = 0.0;
  bool finished_ = false;
};

}  // namespace kronlab
