#pragma once

#include <string>
#include <utility>
#include <vector>

#include "framework/config/value.hpp"

namespace kronlab::config {

/// One run of a sweep: a configuration without `sweep`, and what makes it differ from the others.
struct RunSpec {
  std::string label;  ///< "kronecker num_terms=4 seed=1"; "run" where nothing varies
  std::vector<std::pair<std::string, std::string>> parameters;  ///< {"stage.0.decompose.num_terms", "4"}
  Value config;
};

/// `key=value` of the command line, put into the file before the sweep is expanded.
struct Override {
  std::string path;
  std::string value;
};
/// @throws ConfigError if there is no '='
Override parse_override(const std::string& text);

/// The runs that a TOML file stands for, in a fixed sequence. Without `[sweep]` there is one.
///
///   [sweep]
///   seeds = [0, 1, 2]                              # experiment.seed
///   "stage.1.decompose.num_terms" = [1, 2, 4]      # a grid: any path to a value, counting stages from 0
///   [[sweep.zip]]                                  # lists that move together
///   "stage.0.decompose.left_rows" = [768, 1536]
///   "stage.0.decompose.left_cols" = [768, 384]
///   [[sweep.variants]]                             # named rows
///   name = "plain"
///   "stage.0.decompose" = { kind = "svd", keep = 0.5 }
///
/// All of these are multiplied: variants, zips, grid (by path), seeds; the last runs fastest.
/// @throws ConfigError with file, line and column
std::vector<RunSpec> expand_sweep(Value file, const std::vector<Override>& overrides = {});

}  // namespace kronlab::config
