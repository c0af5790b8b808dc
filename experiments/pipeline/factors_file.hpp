#pragma once

#include <map>
#include <string>

#include "decompositions/factorization.hpp"
#include "framework/model/transformer.hpp"

namespace kronlab::experiments {

/// Factorizations by the name of their layer.
using Factors = std::map<std::string, decompositions::FactorizationParts>;

/// Writes factors as safetensors: tensors `LAYER/PART/.../NAME`, and the structure as JSON in the metadata under
/// `kronlab.factorizations`. @throws StorageError
void write_factors(const std::string& path, const Factors& factors);

/// @throws DataError on a file without such metadata, or whose tensors do not fit it
Factors read_factors(const std::string& path);

/// Those of a model folder that keeps some layers as factors (`factors.safetensors`); none elsewhere.
Factors stored_factors(const std::string& model_path);

/// The operators. @throws DataError as make_factorization
model::LayerOperators operators_of(const Factors& factors);

}  // namespace kronlab::experiments
