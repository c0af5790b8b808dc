#include "framework/storage/find_run.hpp"

#include <algorithm>
#include <vector>

#include "framework/storage/run_reader.hpp"

namespace kronlab::storage {
namespace {

namespace fs = std::filesystem;

std::string joined_ids(const std::vector<RunListing>& runs) {
  constexpr std::size_t most = 5;
  std::string text;
  for (std::size_t i = 0; i < std::min(most, runs.size()); ++i) text += (i > 0 ? ", " : "") + runs[i].id;
  return runs.size() > most ? fmt::format("{}, ... ({} in all)", text, runs.size()) : text;
}

}  // namespace

fs::path find_run(const std::string& store_path, const std::string& text) {
  if (text.find('/') != std::string::npos || fs::exists(fs::path(text) / "run.sqlite")) {
    const fs::path folder = fs::path(text).lexically_normal();
    return folder.has_filename() ? folder : folder.parent_path();
  }
  // A whole id needs no look at the other runs.
  const fs::path named = fs::path(store_path) / "runs" / text;
  if (!text.empty() && text != "." && text != ".." && fs::exists(named / "run.sqlite")) return named;
  const auto all = list_run_folders(store_path);
  std::vector<RunListing> matches;
  for (const auto& run : all) {
    if (run.id == text) return run.folder;
    if (!text.empty() && (run.id.starts_with(text) || run.id.ends_with(text))) matches.push_back(run);
  }
  if (matches.size() == 1) return matches.front().folder;
  if (matches.empty()) {
    throw ConfigError(fmt::format("no run '{}' in the store '{}'; it has {}", text, store_path,
                                  all.empty() ? "none" : joined_ids(all)));
  }
  throw ConfigError(fmt::format("'{}' may be any of {} runs: {}", text, matches.size(), joined_ids(matches)));
}

}  // namespace kronlab::storage
