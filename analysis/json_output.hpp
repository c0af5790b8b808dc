#pragma once

#include <nlohmann/json.hpp>
#include <optional>

#include "framework/base/metric.hpp"
#include "framework/storage/run_reader.hpp"

namespace kronlab::analysis {

/// Keys stay in the sequence in which they are put in.
using Json = nlohmann::ordered_json;

/// JSON has no NaN and no infinity: these are the texts "nan", "inf" and "-inf"; what is absent is null.
Json json_number(std::optional<double> value);
Json json_texts(const storage::NamedTexts& texts);
Json json_metric(const Metric& metric);
Json json_layer(const storage::LayerRecord& layer);
/// One object on standard output.
void print_json(const Json& json);

}  // namespace kronlab::analysis
