#include "analysis/json_output.hpp"

#include <fmt/format.h>

#include <cmath>
#include <cstdio>

namespace kronlab::analysis {

Json json_number(std::optional<double> value) {
  if (!value) return nullptr;
  if (std::isfinite(*value)) return *value;
  return fmt::format("{}", *value);
}

Json json_texts(const storage::NamedTexts& texts) {
  Json json = Json::object();
  for (const auto& [name, text] : texts) json[name] = text;
  return json;
}

Json json_metric(const Metric& metric) {
  return {{"name", metric.name},
          {"value", json_number(metric.value)},
          {"unit", metric.unit},
          {"stage", metric.stage},
          {"step", metric.step},
          {"layer", metric.layer},
          {"dataset", metric.dataset},
          {"protocol", metric.protocol},
          {"standard_error", json_number(metric.standard_error)}};
}

Json json_layer(const storage::LayerRecord& layer) {
  return {{"stage", layer.stage},
          {"layer", layer.layer},
          {"method", layer.method},
          {"rows", layer.rows},
          {"cols", layer.cols},
          {"parameters_before", layer.parameters_before},
          {"parameters_after", layer.parameters_after},
          {"bytes_after", layer.bytes_after},
          {"relative_error", json_number(layer.relative_error)},
          {"weighted_error", json_number(layer.weighted_error)},
          {"search_value", json_number(layer.search_value)},
          {"search_bound", json_number(layer.search_bound)},
          {"seconds", json_number(layer.seconds)},
          {"convergence", layer.convergence}};
}

void print_json(const Json& json) {
  // Texts of runs may hold bytes that are no UTF-8: they are replaced rather than refused.
  const std::string text = json.dump(2, ' ', false, Json::error_handler_t::replace);
  std::printf("%s\n", text.c_str());
}

}  // namespace kronlab::analysis
