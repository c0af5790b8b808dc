#pragma once

#include <string>

#include "framework/storage/run_store.hpp"

namespace kronlab::testing {

inline storage::RunDescription sample_description(const std::string& label = "kronecker 4") {
  storage::RunDescription run;
  run.name = "Half Size: MLPs!";
  run.label = label;
  run.question = "Does it work?";
  run.paper = "arXiv:2401.16367";
  run.config_toml = "[experiment]\nname = \"Half Size: MLPs!\"\n";
  run.cell = "0123abcd";
  run.model_path = "models/tiny";
  run.model_name = "tiny";
  run.parameters = {{"stage.0.decompose.num_terms", "4"}, {"seed", "1"}};
  run.provenance = {{"source.commit", "unknown"}, {"execution.ranks", "2"}};
  return run;
}

inline Metric sample_metric(const std::string& name, double value, Index stage = 0, Index step = 0) {
  Metric metric;
  metric.name = name;
  metric.value = value;
  metric.stage = stage;
  metric.step = step;
  return metric;
}

inline storage::LayerRecord sample_layer(const std::string& name, Index stage = 0) {
  storage::LayerRecord layer;
  layer.stage = stage;
  layer.layer = name;
  layer.method = "permuted(kronecker)";
  layer.rows = 3072;
  layer.cols = 768;
  layer.parameters_before = 3072 * 768;
  layer.parameters_after = 1'179'652;
  layer.bytes_after = 4 * 1'179'652;
  layer.relative_error = 0.25;
  layer.weighted_error = 0.125;
  layer.search_value = 17.5;
  layer.search_bound = 20.0;
  layer.seconds = 1.5;
  layer.convergence = "no better swap after 12 sweeps";
  return layer;
}

}  // namespace kronlab::testing
