#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace kronlab::testing {

/// A file or folder of the shared test data: below $KRONLAB_DATA, else ../shared/data beside the sources; none if
/// absent.
std::optional<std::filesystem::path> shared_data(const std::string& relative);

/// Like `shared_data`; if absent the test program ends as skipped (exit code 77) after saying so.
/// Call it at the start of a case; other cases of the program still run and the program reports "skipped" only if
/// nothing failed.
#define KRONLAB_NEEDS_DATA(variable, relative)                                      \
  const auto variable##_found = ::kronlab::testing::shared_data(relative);          \
  if (!variable##_found) {                                                          \
    ::kronlab::testing::report_skipped(std::string("$KRONLAB_DATA/") + (relative)); \
    return;                                                                         \
  }                                                                                 \
  const std::filesystem::path variable = *variable##_found

/// SmolLM2-135M-Instruct.Q4_1.gguf: in $KRONLAB_DATA/models (or ../shared/data/models), else in the cache folder of
/// experiments/quickstart/fetch_model.sh; none if it was never fetched. Nothing is downloaded inside a test.
std::optional<std::filesystem::path> smollm2();

/// Says on standard error that a case was skipped for want of `what` and how to get it.
void report_skipped(const std::string& what);
/// Whether any case was skipped: the program then ends with 77 unless a case failed.
bool any_skipped();

/// A fresh folder, removed with its content at the end. On several ranks each rank has its own.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

}  // namespace kronlab::testing
