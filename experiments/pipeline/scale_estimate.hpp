#pragma once

#include <string>
#include <vector>

#include "experiments/pipeline/compression_plan.hpp"
#include "experiments/pipeline/machine_rates.hpp"

namespace kronlab::experiments {

/// One part of a run, from its start to where all ranks are through.
struct PartEstimate {
  std::string name;         ///< "load", "evaluation", "calibration", "search", "decomposition", "distillation"
  Index stage = -1;         ///< -1: before the first stage
  double seconds = 0.0;
  double memory_bytes = 0;  ///< resident, of the rank that needs most
  double moved_bytes = 0;   ///< that ranks receive from others by MPI, all ranks together; see moved_by_*
  double read_bytes = 0;    ///< from model files, all ranks together
};

/// What a run would cost on some ranks.
struct ScaleEstimate {
  std::vector<PartEstimate> parts;  ///< in the sequence of the run
  std::vector<std::string> limits;  ///< what more ranks do not make better, one sentence each

  double seconds() const;
  double memory_bytes() const;  ///< peak
  double moved_bytes() const;
  double read_bytes() const;
};

/// How a plan would be done by `num_ranks` ranks of `threads` cores: what every rank loads, runs, sends and waits for, part
/// by part, at the rates of a machine. Nothing that a store may know already is left out. `model_bytes`: of the files with
/// the weights; 0 where they are not there: 2 bytes a parameter. A text whose file is not there has 300,000 tokens.
///
/// Pieces of gradients are taken as equal, which those of models of a few blocks are not. Not in it: tokenising texts, writing
/// the record, and waiting for a rank that others slow down.
ScaleEstimate estimate_scale(const ExperimentSpec& spec, const CompressionPlan& plan, double model_bytes, const MachineRates& rates, int num_ranks,
                             int threads);

// Bytes that ranks receive, all together: the convention for predictions and for counting.
/// One rank's bytes to all others.
inline double moved_by_broadcast(double bytes, int num_ranks) { return bytes * (num_ranks - 1); }
/// A sum of arrays of this size over ranks, known to all: as much as a ring needs.
inline double moved_by_sum(double bytes, int num_ranks) { return 2 * bytes * (num_ranks - 1); }
/// Parts that are `bytes` together, all of them to all ranks.
inline double moved_by_all_gather(double bytes, int num_ranks) { return bytes * (num_ranks - 1); }

}  // namespace kronlab::experiments
