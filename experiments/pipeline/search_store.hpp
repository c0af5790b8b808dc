#pragma once

#include <filesystem>

#include "decompositions/permutation/search_state.hpp"

namespace kronlab::experiments {

/// The state of one permutation search in a file, which is replaced whole.
class SearchStateFile final : public decompositions::SearchStateStore {
 public:
  explicit SearchStateFile(std::filesystem::path path) : path_(std::move(path)) {}
  std::optional<std::string> load() override;
  /// A disk that is full costs the state, not the search: a warning says so.
  void save(const std::string& state) override;

 private:
  std::filesystem::path path_;
};

}  // namespace kronlab::experiments
