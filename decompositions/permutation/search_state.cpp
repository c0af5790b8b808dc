#include "decompositions/permutation/search_state.hpp"

#include <nlohmann/json.hpp>
#include <utility>

#include "framework/base/error.hpp"
#include "framework/base/progress.hpp"

namespace kronlab::decompositions {
namespace {

using nlohmann::json;

json to_json(const SearchResult& s) {
  json curve = json::array();
  for (const auto& point : s.curve) curve.push_back({point.evaluations, point.seconds, point.value});
  const auto& c = s.convergence;
  json j = {{"rows", s.rows},           {"columns", s.columns},  {"start_value", s.start_value},
            {"value", s.value},         {"curve", curve},        {"convergence", {static_cast<int>(c.reason), c.num_iterations, c.residual}},
            {"evaluated", s.evaluated}, {"accepted", s.accepted}};
  if (s.bound) j["bound"] = *s.bound;
  return j;
}

SearchResult result_from(const json& j) {
  SearchResult s;
  s.rows = j.at("rows").get<std::vector<Index>>();
  s.columns = j.at("columns").get<std::vector<Index>>();
  s.start_value = j.at("start_value");
  s.value = j.at("value");
  const auto& c = j.at("convergence");
  s.convergence = {static_cast<Convergence::Reason>(c.at(0).get<int>()), c.at(1).get<Index>(), c.at(2).get<double>()};
  for (const auto& point : j.at("curve"))
    s.curve.push_back({point.at(0).get<Index>(), point.at(1).get<double>(), point.at(2).get<double>()});
  s.evaluated = j.at("evaluated");
  s.accepted = j.at("accepted");
  if (j.contains("bound")) s.bound = j.at("bound").get<double>();
  return s;
}

json to_json(const AnnealState& state) {
  return {{"next_step", state.next_step},
          {"num_steps", state.num_steps},
          {"rows_temperature", state.rows_temperature},
          {"columns_temperature", state.columns_temperature},
          {"rows", state.grouping.rows},
          {"columns", state.grouping.columns},
          {"seconds", state.seconds},
          {"so_far", to_json(state.so_far)}};
}

AnnealState annealing_from(const json& j) {
  AnnealState state;
  state.next_step = j.at("next_step");
  state.num_steps = j.at("num_steps");
  state.rows_temperature = j.at("rows_temperature");
  state.columns_temperature = j.at("columns_temperature");
  state.grouping = {j.at("rows").get<std::vector<Index>>(), j.at("columns").get<std::vector<Index>>()};
  state.seconds = j.at("seconds");
  state.so_far = result_from(j.at("so_far"));
  return state;
}

}  // namespace

std::string serialise(const SearchResult& result) { return to_json(result).dump(); }

SearchResult deserialise_search_result(const std::string& text) {
  try {
    return result_from(json::parse(text));
  } catch (const json::exception& error) {
    throw DataError(fmt::format("result of a permutation search: {}", error.what()));
  }
}

SearchKeeper::SearchKeeper(SearchStateStore* store, std::string search) : store_(store), search_(std::move(search)), saved_s_(now_s()) {
  const auto text = store ? store->load() : std::nullopt;
  if (!text) return;
  try {
    const json j = json::parse(*text);
    if (j.at("search") != search_) {
      log_warning(fmt::format("the saved state of a permutation search is of '{}', expected '{}': it starts again", j.at("search").dump(), search_));
      return;
    }
    if (j.contains("result")) result_ = result_from(j.at("result"));
    if (j.contains("annealing")) annealing_ = annealing_from(j.at("annealing"));
  } catch (const json::exception& error) {
    log_warning(fmt::format("the saved state of '{}' is damaged, it starts again: {}", search_, error.what()));
  }
}

bool SearchKeeper::is_due() const { return store_ && now_s() - saved_s_ >= store_->every_s; }

void SearchKeeper::save(const AnnealState& state) {
  if (store_) store_->save(json{{"search", search_}, {"annealing", to_json(state)}}.dump());
  saved_s_ = now_s();
}

void SearchKeeper::save(const SearchResult& result) {
  if (store_) store_->save(json{{"search", search_}, {"result", to_json(result)}}.dump());
}

}  // namespace kronlab::decompositions
