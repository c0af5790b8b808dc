#include "experiments/pipeline/shared_hash.hpp"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "framework/base/hash.hpp"
#include "framework/base/progress.hpp"

namespace kronlab::experiments {

namespace {

using nlohmann::json;
using Files = std::vector<std::pair<std::string, double>>;  // path and bytes

Files on_root(const comm::Communicator& communicator, const std::function<std::vector<std::string>()>& paths) {
  const auto text = comm::coordinate(communicator, [&] {
    Files files;
    if (communicator.is_root()) {
      for (const auto& path : paths()) {
        std::error_code missing;  // who reads it says so
        const auto size = std::filesystem::file_size(path, missing);
        files.emplace_back(path, missing ? 0.0 : static_cast<double>(size));
      }
    }
    return json(files).dump(-1, ' ', false, json::error_handler_t::strict);
  });
  return json::parse(communicator.broadcast(text)).get<Files>();
}

std::vector<std::string> hashes_of(const comm::Communicator& communicator, const Files& files) {
  constexpr double long_work = 4e9;  // bytes: some seconds
  std::vector<double> sizes;
  double total = 0;
  for (const auto& file : files) sizes.push_back(file.second), total += file.second;
  if (total > long_work) log_info(fmt::format("hashing {} file(s), {:.0f} GB, on {} rank(s)", files.size(), 1e-9 * total, communicator.size()));
  const comm::WorkPartition partition(sizes, communicator.size());
  const auto own = comm::coordinate(communicator, [&] {
    json digests = json::object();
    for (const Index at : partition.items_of(communicator.rank())) digests[std::to_string(at)] = sha256_of_file(files[static_cast<std::size_t>(at)].first);
    return digests.dump();
  });
  std::vector<std::string> hashes(files.size());
  for (const auto& text : communicator.all_gather(own)) {
    const json digests = json::parse(text);
    for (const auto& [at, digest] : digests.items()) hashes.at(std::stoul(at)) = digest;
  }
  return hashes;
}

}  // namespace

std::vector<std::string> hashes_of_files(const comm::Communicator& communicator, std::vector<std::string> paths) {
  return hashes_of(communicator, on_root(communicator, [&] { return paths; }));
}

std::string hash_of_model(const comm::Communicator& communicator, const storage::ModelFiles& model) {
  const auto files = on_root(communicator, [&] { return model.file_paths(); });
  std::vector<std::string> paths;
  for (const auto& file : files) paths.push_back(file.first);
  return model.hash_from(paths, hashes_of(communicator, files));
}

}  // namespace kronlab::experiments
