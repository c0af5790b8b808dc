#pragma once

#include <filesystem>

namespace kronlab::experiments {

// The checkpoints of a run's stages:
//   RUN/checkpoints/stage-K/   factors.safetensors (of all stages so far), arrays.h5, DONE (written last)

std::filesystem::path stage_folder(const std::filesystem::path& run_folder, std::size_t stage);
/// Factors of all layers that were decomposed up to that stage.
std::filesystem::path factors_path(const std::filesystem::path& run_folder, std::size_t stage);
/// Stages, from the first on, whose checkpoint is complete.
std::size_t num_finished_stages(const std::filesystem::path& run_folder);

}  // namespace kronlab::experiments
