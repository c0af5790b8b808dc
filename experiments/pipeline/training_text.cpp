#include "experiments/pipeline/training_text.hpp"

#include <cmath>
#include <filesystem>
#include <numeric>

#include "experiments/pipeline/token_cache.hpp"

namespace kronlab::experiments {
namespace {

/// `total` windows over the sources, as near to their weights as whole numbers are.
std::vector<Index> held_out_of_each(Index total, const std::vector<double>& weights) {
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<Index> counts;
  double share = 0;
  Index given = 0;
  for (const double weight : weights) {
    share += weight / sum * static_cast<double>(total);
    counts.push_back(static_cast<Index>(std::llround(share)) - given);
    given += counts.back();
  }
  return counts;
}

}  // namespace

TrainingText::TrainingText(const comm::Communicator& communicator, const TrainingTextSpec& spec, const ModelAccess& model, const std::string& store_path,
                           const std::vector<std::string>& data_hashes, RandomStream random)
    : window_(spec.window) {
  for (std::size_t i = 0; i < spec.paths.size(); ++i) {
    const std::string name = std::filesystem::path(spec.paths[i]).filename().string();
    streams_.push_back(cached_tokens(communicator, store_path, model, name, spec.paths[i], data_hashes[i]));
  }
  comm::coordinate(communicator, [&] {
    const auto held_out = held_out_of_each(spec.holdout, spec.weights);
    std::vector<model::WindowSource> sources;
    for (std::size_t i = 0; i < streams_.size(); ++i) {
      const Index num_windows = streams_[i].num_windows(window_);
      if (held_out[i] >= num_windows) {
        throw DataError(fmt::format("text '{}' has {} windows of {} tokens, of which {} would be held out: nothing is left to train on", spec.paths[i],
                                    num_windows, window_, held_out[i]));
      }
      for (const Index window : model::split(num_windows, held_out[i]).held_out) validation_.push_back({static_cast<Index>(i), window});
      sources.push_back({std::to_string(i), num_windows, spec.weights[i], held_out[i]});
      num_training_windows_ += num_windows - held_out[i];
    }
    sequence_.emplace(std::move(sources), random);
  });
}

void TrainingText::training_window(Index i, std::span<std::int32_t> ids) {
  const auto place = sequence_->at(i);
  streams_[static_cast<std::size_t>(place.source)].window(place.window, ids);
}

void TrainingText::validation_window(Index i, std::span<std::int32_t> ids) const {
  const auto place = validation_[static_cast<std::size_t>(i)];
  streams_[static_cast<std::size_t>(place.source)].window(place.window, ids);
}

}  // namespace kronlab::experiments
