#include "experiments/pipeline/stage_checkpoint.hpp"

#include <fmt/format.h>

namespace kronlab::experiments {

namespace fs = std::filesystem;

fs::path stage_folder(const fs::path& run_folder, std::size_t stage) {
  return run_folder / "checkpoints" / fmt::format("stage-{}", stage);
}

fs::path searches_folder(const fs::path& run_folder, std::size_t stage) { return stage_folder(run_folder, stage) / "searches"; }

fs::path factors_path(const fs::path& run_folder, std::size_t stage) {
  return stage_folder(run_folder, stage) / "factors.safetensors";
}

fs::path moved_path(const fs::path& run_folder, std::size_t stage) { return stage_folder(run_folder, stage) / "moved.safetensors"; }

fs::path values_path(const fs::path& run_folder, std::size_t stage) {
  return stage_folder(run_folder, stage) / "values.safetensors";
}

bool is_compressed(const fs::path& run_folder, std::size_t stage) {
  return fs::exists(stage_folder(run_folder, stage) / "COMPRESSED");
}

std::size_t num_finished_stages(const fs::path& run_folder) {
  std::size_t stage = 0;
  while (fs::exists(stage_folder(run_folder, stage) / "DONE")) ++stage;
  return stage;
}

}  // namespace kronlab::experiments
