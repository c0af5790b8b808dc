#pragma once

#include <mpi.h>

#include <filesystem>
#include <string>

#include "experiments/pipeline/run_experiment.hpp"
#include "framework/base/hash.hpp"
#include "framework/storage/run_reader.hpp"
#include "tests/support/test_data.hpp"
#include "tests/support/tiny_model.hpp"

namespace kronlab::experiments {

/// A model, texts and stores in one folder that all ranks see.
struct Fixture {
  comm::Communicator world{MPI_COMM_WORLD};
  testing::TemporaryFolder own;
  std::filesystem::path folder = world.broadcast(own.path().string());

  explicit Fixture(const model::ModelConfig& config = testing::tiny_llama_config()) {
    comm::coordinate(world, [&] {
      if (!world.is_root()) return;
      testing::write_tiny_model(folder / "model", config);
      write_file_atomically((folder / "c.txt").string(), testing::nonsense(600, 1));
      write_file_atomically((folder / "e.txt").string(), testing::nonsense(600, 2));
    });
  }
  ~Fixture() { world.barrier(); }

  config::RunSpec spec(const std::string& stages) const {
    const std::string toml =
        "[experiment]\nname = \"test\"\nseed = 3\n[model]\npath = \"model\"\n[data]\ncalibration = { path = \"c.txt\", "
        "tokens = 320, window = 32 }\ndistillation = { path = [\"c.txt\", \"e.txt\"], weights = [2.0, 1.0], window = 16, holdout = 6 }\n"
        "[[evaluate]]\ndataset = { path = \"e.txt\" }\nprotocol = { window = 32 }\nmax_windows = 9\n" +
        stages;
    return config::expand_sweep(config::parse_toml(toml, "test.toml")).front();
  }

  RunSummary run(const comm::Communicator& communicator, const std::string& store, const std::string& stages) const {
    return run_experiment(communicator, spec(stages), {(folder / store).string(), folder.string(), {"test"}, 1});
  }

  std::filesystem::path run_folder(const std::string& store, const RunSummary& summary) const {
    return folder / store / "runs" / summary.id;
  }
};

struct Gpt2Fixture : Fixture {
  Gpt2Fixture() : Fixture(testing::tiny_gpt2_config()) {}
};

/// Everything but times, as text.
inline std::string numbers_of(const std::filesystem::path& run_folder) {
  const storage::RunReader run(run_folder);
  std::string text;
  for (const auto& m : run.metrics()) {
    if (m.name.starts_with("time/") || m.name == "distill/seconds" || m.name.starts_with("memory/") || m.name.starts_with("speed/") || m.unit.ends_with("/s")) continue;
    text += fmt::format("{} {} {} {} {}\n", m.name, m.value, m.stage, m.step, m.standard_error.value_or(-1));
  }
  for (const auto& l : run.layers())
    text += fmt::format("{} {} {} {}\n", l.layer, l.relative_error, l.weighted_error.value_or(-1),
                        l.search_value.value_or(-1));
  return text;
}

/// SHA-256 of a stage's factors.
inline std::string factors_of(const std::filesystem::path& run_folder, int stage) {
  return sha256_of_file((run_folder / "checkpoints" / fmt::format("stage-{}", stage) / "factors.safetensors").string());
}

}  // namespace kronlab::experiments
