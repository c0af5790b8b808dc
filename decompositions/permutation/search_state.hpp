#pragma once

#include <optional>
#include <string>

#include "decompositions/permutation/permutation_search.hpp"

namespace kronlab::decompositions {

/// Where a long search keeps how far it has come, so that it goes on after a kill with the result it would have had.
class SearchStateStore {
 public:
  virtual ~SearchStateStore() = default;
  /// What was saved last; none where nothing was, or it cannot be read.
  virtual std::optional<std::string> load() = 0;
  virtual void save(const std::string& state) = 0;
  /// Seconds between two saves.
  double every_s = 60.0;
};

/// JSON, which keeps every finite double exactly.
std::string serialise(const SearchResult& result);
/// @throws DataError if it is not one
SearchResult deserialise_search_result(const std::string& text);

/// Annealing between two temperatures. What follows depends on nothing else.
struct AnnealState {
  Index next_step = 0;
  Index num_steps = 0;
  double rows_temperature = 0.0, columns_temperature = 0.0;  ///< over the energy of an element
  Grouping grouping;
  double seconds = 0.0;  ///< since the search began
  SearchResult so_far;  ///< the best grouping, its curve and the counts

  double& relative_temperature(Axis axis) { return axis == Axis::rows ? rows_temperature : columns_temperature; }
};

/// What is kept of one search: its result once there is one, before that the annealing that it is in.
class SearchKeeper {
 public:
  /// store: may be null, which keeps nothing. search: says which search of which weight; the state of another one is not
  /// taken.
  SearchKeeper(SearchStateStore* store, std::string search);

  /// Neither where nothing is kept, or with a warning where it is damaged or another search's.
  std::optional<SearchResult> result() const { return result_; }
  std::optional<AnnealState> annealing() const { return annealing_; }
  bool is_due() const;
  void save(const AnnealState& state);
  void save(const SearchResult& result);

 private:
  SearchStateStore* store_;
  std::string search_;
  double saved_s_;
  std::optional<SearchResult> result_;
  std::optional<AnnealState> annealing_;
};

}  // namespace kronlab::decompositions
