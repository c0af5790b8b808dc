#include "experiments/pipeline/layer_outcome.hpp"

#include <nlohmann/json.hpp>

#include "decompositions/permutation/search_state.hpp"

namespace kronlab::experiments {
namespace {

using decompositions::Convergence;
using nlohmann::json;

// JSON keeps every finite double exactly: numbers are written in their shortest form that reads back the same.

json to_json(const Convergence& c) { return {static_cast<int>(c.reason), c.num_iterations, c.residual}; }

Convergence convergence_from(const json& j) {
  return {static_cast<Convergence::Reason>(j.at(0).get<int>()), j.at(1).get<Index>(), j.at(2).get<double>()};
}

std::string numbers_of(const LayerOutcome& o) {
  json j = {{"relative_error", o.relative_error},
            {"convergence", to_json(o.convergence)},
            {"size", {o.size.num_parameters, o.size.stored_bytes}},
            {"seconds", o.seconds}};
  if (o.weighted_error) j["weighted_error"] = *o.weighted_error;
  if (o.search) {
    decompositions::SearchResult numbers = *o.search;
    numbers.rows.clear(), numbers.columns.clear(), numbers.curve.clear();
    j["search"] = decompositions::serialise(numbers);
  }
  return j.dump();
}

}  // namespace

LayerOutcome broadcast(const comm::Communicator& communicator, LayerOutcome outcome, int owner) {
  if (communicator.size() == 1) return outcome;
  const bool is_owner = communicator.rank() == owner;
  const std::string name = communicator.broadcast(outcome.name, owner);
  const std::string numbers = communicator.broadcast(is_owner ? numbers_of(outcome) : "", owner);
  const std::string parts = communicator.broadcast(is_owner ? decompositions::serialise(outcome.parts) : "", owner);
  if (is_owner) return outcome;
  const json j = json::parse(numbers);
  LayerOutcome received;
  received.name = name;
  received.parts = decompositions::deserialise(parts);
  received.relative_error = j.at("relative_error");
  if (j.contains("weighted_error")) received.weighted_error = j.at("weighted_error").get<double>();
  received.convergence = convergence_from(j.at("convergence"));
  if (j.contains("search")) received.search = decompositions::deserialise_search_result(j.at("search"));
  received.size = {j.at("size").at(0), j.at("size").at(1)};
  received.seconds = j.at("seconds");
  received.is_own = false;
  return received;
}

}  // namespace kronlab::experiments
