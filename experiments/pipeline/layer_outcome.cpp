#include "experiments/pipeline/layer_outcome.hpp"

#include <nlohmann/json.hpp>

namespace kronlab::experiments {
namespace {

using decompositions::Convergence;
using decompositions::SearchResult;
using nlohmann::json;

// JSON keeps every finite double exactly: numbers are written in their shortest form that reads back the same.

json to_json(const Convergence& c) { return {static_cast<int>(c.reason), c.num_iterations, c.residual}; }

Convergence convergence_from(const json& j) {
  return {static_cast<Convergence::Reason>(j.at(0).get<int>()), j.at(1).get<Index>(), j.at(2).get<double>()};
}

json to_json(const SearchResult& s) {
  json curve = json::array();
  for (const auto& point : s.curve) curve.push_back({point.evaluations, point.seconds, point.value});
  json j = {{"rows", s.rows},           {"columns", s.columns},  {"start_value", s.start_value},
            {"value", s.value},         {"curve", curve},        {"convergence", to_json(s.convergence)},
            {"evaluated", s.evaluated}, {"accepted", s.accepted}};
  if (s.bound) j["bound"] = *s.bound;
  return j;
}

SearchResult search_from(const json& j) {
  SearchResult s;
  s.rows = j.at("rows").get<std::vector<Index>>();
  s.columns = j.at("columns").get<std::vector<Index>>();
  s.start_value = j.at("start_value");
  s.value = j.at("value");
  s.convergence = convergence_from(j.at("convergence"));
  for (const auto& point : j.at("curve"))
    s.curve.push_back({point.at(0).get<Index>(), point.at(1).get<double>(), point.at(2).get<double>()});
  s.evaluated = j.at("evaluated");
  s.accepted = j.at("accepted");
  if (j.contains("bound")) s.bound = j.at("bound").get<double>();
  return s;
}

std::string numbers_of(const LayerOutcome& o) {
  json j = {{"relative_error", o.relative_error},
            {"convergence", to_json(o.convergence)},
            {"spectrum", o.spectrum},
            {"seconds", o.seconds}};
  if (o.weighted_error) j["weighted_error"] = *o.weighted_error;
  if (o.search) j["search"] = to_json(*o.search);
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
  received.spectrum = j.at("spectrum").get<std::vector<double>>();
  if (j.contains("search")) received.search = search_from(j.at("search"));
  received.seconds = j.at("seconds");
  return received;
}

}  // namespace kronlab::experiments
