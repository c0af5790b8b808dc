#pragma once

#include <filesystem>
#include <string>

#include "experiments/pipeline/calibration.hpp"

namespace kronlab::experiments {

/// Statistics of dense layers on disk, by content: runs of a sweep share them. Safe to delete.
class StatisticsCache {
 public:
  /// key: hash of all that determines the statistics. Files lie in STORE/cache/statistics/KEY/.
  StatisticsCache(const std::string& store_path, const std::string& key);

  bool has(const Site& site) const;
  /// @throws DataError if the file is damaged, StorageError if it cannot be read
  decompositions::LayerStatistics load(const Site& site) const;
  /// Whole or not at all. @throws StorageError
  void save(const Site& site, const decompositions::LayerStatistics& statistics) const;

 private:
  std::string path_of(const Site& site) const;

  std::filesystem::path folder_;
};

}  // namespace kronlab::experiments
