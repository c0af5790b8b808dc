#pragma once

#include <filesystem>

namespace kronlab::experiments {

// The checkpoints of a run's stages:
//   RUN/checkpoints/stage-K/
//     factors.safetensors   of all layers that were decomposed so far, as they are before this stage's training
//     searches/LAYER-START.json   permutation searches, until the stage is compressed (search_store.hpp)
//     moved.safetensors     tensors beside the layers that moved with hidden units in this stage; not there where none did
//     arrays.h5             what the decompositions left
//     COMPRESSED            all of the above is whole
//     step-000000120/ ...   checkpoints of the training (training_checkpoint.hpp)
//     values.safetensors    all that was trained or moved so far, as the stage leaves it; not there where nothing was
//     DONE                  written last

std::filesystem::path stage_folder(const std::filesystem::path& run_folder, std::size_t stage);
std::filesystem::path searches_folder(const std::filesystem::path& run_folder, std::size_t stage);
std::filesystem::path factors_path(const std::filesystem::path& run_folder, std::size_t stage);
std::filesystem::path moved_path(const std::filesystem::path& run_folder, std::size_t stage);
std::filesystem::path values_path(const std::filesystem::path& run_folder, std::size_t stage);
bool is_compressed(const std::filesystem::path& run_folder, std::size_t stage);
/// Stages, from the first on, whose checkpoint is complete.
std::size_t num_finished_stages(const std::filesystem::path& run_folder);

}  // namespace kronlab::experiments
