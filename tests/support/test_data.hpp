#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace kronlab::testing {

/// A file or folder of the shared test data: below $KRONLAB_DATA, else ../shared/data beside the sources; none if
/// absent.
std::optional<std::filesystem::path> shared_data(const std::string& relative);

/// SmolLM2-135M-Instruct.Q4_1.gguf where experiments/quickstart/fetch_model.sh looks for it: $KRONLAB_DATA, then the
/// cache folder; none if it is in neither. Never downloads.
std::optional<std::filesystem::path> smollm2();

/// Like `shared_data`; if absent the test program ends as skipped (exit code 77) after saying so.
/// Call it at the start of a case; other cases of the program still run and the program reports "skipped" only if
/// nothing failed.
#define KRONLAB_NEEDS_DATA(variable, relative)                             \
  const auto variable##_found = ::kronlab::testing::shared_data(relative); \
  if (!variable##_found) {                                                 \
    ::kronlab::testing::report_skipped(relative);                          \
    return;                                                                \
  }                                                                        \
  const std::filesystem::path variable = *variable##_found

/// The same for the SmolLM2 model.
#define KRONLAB_NEEDS_SMOLLM2(variable)                                           \
  const auto variable##_found = ::kronlab::testing::smollm2();                    \
  if (!variable##_found) {                                                        \
    ::kronlab::testing::report_skipped("models/SmolLM2-135M-Instruct.Q4_1.gguf"); \
    return;                                                                       \
  }                                                                               \
  const std::filesystem::path variable = *variable##_found

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
