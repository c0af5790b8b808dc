#pragma once

#include <string>

#include "experiments/pipeline/factors_file.hpp"
#include "experiments/pipeline/model_access.hpp"

namespace kronlab::experiments {

enum class ExportFormat { dense, factors };

/// Writes a Hugging Face folder: config.json, model.safetensors (float32, Hugging Face's names, GPT-2's matrices as
/// Conv1D stores them) and the tokenizer's files. `dense` multiplies factors out; `factors` leaves factorised layers
/// out of model.safetensors and writes them to factors.safetensors, from where kronlab loads them.
/// @throws StorageError if the folder cannot be written; ConfigError if it holds a model already
void export_model(const model::Transformer& model, const Factors& factors, const storage::ModelFiles& origin,
                  ExportFormat format, const std::string& folder);

}  // namespace kronlab::experiments
