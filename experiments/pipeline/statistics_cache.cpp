#include "experiments/pipeline/statistics_cache.hpp"

#include <algorithm>

#include "framework/storage/safetensors.hpp"

namespace kronlab::experiments {

StatisticsCache::StatisticsCache(const std::string& store_path, const std::string& key)
    : folder_(std::filesystem::path(store_path) / "cache" / "statistics" / key) {}

std::string StatisticsCache::path_of(const Site& site) const {
  std::string name = to_string(site) + ".safetensors";
  std::ranges::replace(name, ' ', '-');
  return (folder_ / name).string();
}

bool StatisticsCache::has(const Site& site) const {
  std::error_code ignored;
  return std::filesystem::exists(path_of(site), ignored);
}

decompositions::LayerStatistics StatisticsCache::load(const Site& site) const {
  const storage::SafetensorsFile file(path_of(site));
  const auto& info = file.info("input_moments");
  if (info.shape.size() != 2 || info.shape[0] != info.shape[1] || !file.metadata().contains("num_tokens")) {
    throw DataError(fmt::format("'{}' holds no layer statistics", path_of(site)));
  }
  decompositions::LayerStatistics statistics;
  statistics.num_tokens = std::atoll(file.metadata().at("num_tokens").c_str());
  statistics.input_moments = Matrix<double>(info.shape[0], info.shape[1]);
  file.read("input_moments", statistics.input_moments.view());
  return statistics;
}

void StatisticsCache::save(const Site& site, const decompositions::LayerStatistics& statistics) const {
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  if (error) throw StorageError(fmt::format("cannot create '{}': {}", folder_.string(), error.message()));
  const auto moments = statistics.input_moments.view();
  storage::write_safetensors(
      path_of(site), std::vector<storage::NamedTensor>{{"input_moments", {moments.rows, moments.cols}, moments}},
      {{"num_tokens", std::to_string(statistics.num_tokens)}});
}

}  // namespace kronlab::experiments
