#pragma once

#include <string>

#include "experiments/pipeline/stage_checkpoint.hpp"
#include "framework/storage/run_index.hpp"
#include "tests/experiments/run_fixture.hpp"
#include "tests/support/program.hpp"

namespace kronlab::testing {

/// Calibration and searches on both ranks, then a training with checkpoints at 3, 6, 9 and 12.
inline constexpr const char* disturbed_configuration = R"([experiment]
name = "killed"
[model]
path = "model"
[data]
calibration = { path = "c.txt", tokens = 320, window = 32 }
distillation = { path = "c.txt", window = 32, holdout = 2 }
[[evaluate]]
dataset = { path = "e.txt" }
protocol = { window = 32 }
max_windows = 9
[[stage]]
layers = ["layers.*.mlp.*"]
decompose = { kind = "kronecker", right_rows = 2, right_cols = 2, num_terms = 1, weighting = "inputs" }
permute = { kind = "portfolio", weighting = "inputs", max_evaluations = 20_000 }
[stage.distill]
steps = 12
batch_tokens = 128
micro_batch = 2
losses = { ce = 1.0, kl = 1.0 }
lr = 1e-3
validate_every = 4
checkpoint = { every_steps = 3, keep = 2 }
)";

/// A run with all that a run does, small enough to be done again and again.
struct DisturbedJob {
  TemporaryFolder folder;

  DisturbedJob() {
    write_tiny_model(folder.path() / "model", tiny_llama_config());
    write_file_atomically(folder / "c.txt", nonsense(3000, 1));
    write_file_atomically(folder / "e.txt", nonsense(600, 2));
    write_file_atomically(folder / "run.toml", disturbed_configuration);
  }

  std::string command(const std::string& store, int ranks = 2) const {
    return fmt::format("mpirun --oversubscribe --bind-to none -n {} {} run {} --store {}", ranks, program_path("bin/kronlab"), folder / "run.toml", store);
  }
  static std::filesystem::path run_folder(const std::string& store) { return storage::indexed_runs(store).at(0).folder; }

  /// The numbers of a run, with the bits of what it decomposed and trained.
  static std::string results_of(const std::string& store) {
    const auto at = run_folder(store);
    return experiments::numbers_of(at) + experiments::factors_of(at, 0) + sha256_of_file(experiments::values_path(at, 0).string());
  }
};

}  // namespace kronlab::testing
