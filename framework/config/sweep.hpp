#pragma once

#include <string>
#include <utility>
#include <vector>

#include "framework/config/value.hpp"

namespace kronlab::config {

/// One run of a sweep: a configuration without `sweep`, and what makes it differ from the others.
struct RunSpec {
  std::string label;  ///< "kronecker num_terms=4 seed=1"; "run" where nothing varies; unique in its sweep
  std::vector<std::pair<std::string, std::string>> parameters;  ///< {"stage.0.decompose.num_terms", "4"}, each path once
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
///   "stage.1.decompose.num_terms" = [1, 2, 4]      # any path to a value, counting stages from 0
///   [[sweep.zip]]                                  # lists that move together
///   "stage.0.decompose.left_rows" = [768, 1536]
///   "stage.0.decompose.left_cols" = [768, 384]
///   [[sweep.variants]]                             # named rows
///   name = "plain"
///   "stage.0.decompose" = { kind = "svd", keep = 0.5 }
///
/// All of these are multiplied: variants, zips, the keys of [sweep] (by path), grids, seeds; the last runs fastest.
///
/// An entry of variants, zip or grid may say `when` it applies; other runs leave it out and are not multiplied by it:
///
///   [sweep]
///   "stage.0.decompose.kind" = ["svd", "kronecker"]
///   [[sweep.grid]]                                 # lists that are multiplied, after the keys of [sweep]
///   when = { "stage.0.decompose.kind" = "kronecker" }   # or a list: any of them; of several paths, all must agree
///   "stage.0.decompose.num_terms" = [1, 2, 4]
///   "stage.0.permute.kind" = ["matching", "anneal"]
///
/// has 7 runs, from `decompose.kind=svd` to `decompose.kind=kronecker num_terms=4 permute.kind=anneal`.
/// A condition sees the file, the overrides and what earlier entries have put in, not the defaults of what nobody wrote.
/// Runs that are equal in the end are listed once, by their first label; other runs of one label get "#2", "#3".
///
/// @throws ConfigError with file, line and column on a malformed or misspelt entry, a `when` on a path that is in no
/// run or that a later entry sets, or more than 100000 runs or 1000000 values in their configurations
std::vector<RunSpec> expand_sweep(Value file, const std::vector<Override>& overrides = {});

}  // namespace kronlab::config
