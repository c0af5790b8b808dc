#include "framework/storage/find_run.hpp"

#include <vector>

#include "framework/storage/run_reader.hpp"

namespace kronlab::storage {

std::filesystem::path find_run(const std::string& store_path, const std::string& text) {
  namespace fs = std::filesystem;
  if (text.empty()) throw ConfigError("the name of a run is empty");
  if (fs::exists(fs::path(text) / "run.sqlite")) return text;
  std::vector<std::string> found;
  fs::path folder;
  for (const auto& listing : list_runs(store_path)) {
    if (listing.id == text) return listing.folder;
    if (!listing.id.starts_with(text) && !listing.id.ends_with(text)) continue;
    found.push_back(listing.id);
    folder = listing.folder;
  }
  if (found.size() == 1) return folder;
  if (found.empty()) throw ConfigError(fmt::format("no run '{}' in store '{}'; 'kronlab-report list' shows the runs", text, store_path));
  throw ConfigError(fmt::format("'{}' fits {} runs: {}", text, found.size(), fmt::join(found, ", ")));
}

}  // namespace kronlab::storage
