#include "experiments/pipeline/factors_file.hpp"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "framework/storage/safetensors.hpp"

namespace kronlab::experiments {
namespace {

using decompositions::FactorizationParts;
using nlohmann::json;

constexpr const char* metadata_key = "kronlab.factorizations";

/// Adds the tensors of a factorization below `path` and returns its structure.
json add_parts(const std::string& path, const FactorizationParts& parts, std::vector<storage::NamedTensor>& tensors) {
  json structure = {
      {"kind", parts.kind}, {"integers", parts.integers}, {"tensors", json::array()}, {"children", json::object()}};
  for (const auto& [name, tensor] : parts.tensors) {
    structure["tensors"].push_back(name);
    tensors.push_back({path + "/" + name, tensor.shape(), tensor.view()});
  }
  for (const auto& [name, child] : parts.children)
    structure["children"][name] = add_parts(path + "/" + name, child, tensors);
  return structure;
}

Tensor load_tensor(const storage::SafetensorsFile& file, const std::string& name) {
  const auto& info = file.info(name);
  if (info.stored_type == "F16") return file.load(name, DType::f16);
  if (info.stored_type != "I32") return file.load(name);
  Tensor tensor = Tensor::uninitialised(DType::i32, info.shape);
  const auto values = file.read_integers(name);
  std::ranges::transform(values, tensor.values<std::int32_t>().begin(),
                         [](Index value) { return static_cast<std::int32_t>(value); });
  return tensor;
}

FactorizationParts parts_of(const json& structure, const std::string& path, const storage::SafetensorsFile& file,
                            int depth = 0) {
  if (depth > 16) throw DataError(fmt::format("factors of `{}` are nested more than 16 deep", path));
  FactorizationParts parts;
  parts.kind = structure.at("kind").get<std::string>();
  parts.integers = structure.at("integers").get<std::map<std::string, Index>>();
  for (const auto& name : structure.at("tensors")) {
    const auto key = name.get<std::string>();
    parts.tensors[key] = load_tensor(file, path + "/" + key);
  }
  for (const auto& [name, child] : structure.at("children").items()) {
    parts.children[name] = parts_of(child, path + "/" + name, file, depth + 1);
  }
  return parts;
}

}  // namespace

void write_factors(const std::string& path, const Factors& factors) {
  std::vector<storage::NamedTensor> tensors;
  json structure = json::object();
  for (const auto& [layer, parts] : factors) structure[layer] = add_parts(layer, parts, tensors);
  storage::write_safetensors(path, tensors, {{metadata_key, structure.dump()}});
}

Factors read_factors(const std::string& path) {
  const storage::SafetensorsFile file(path);
  const auto found = file.metadata().find(metadata_key);
  if (found == file.metadata().end())
    throw DataError(fmt::format("'{}' holds no factors: its metadata have no '{}'", path, metadata_key));
  try {
    const json structures = json::parse(found->second);
    Factors factors;
    for (const auto& [layer, structure] : structures.items()) factors[layer] = parts_of(structure, layer, file);
    return factors;
  } catch (const json::exception& error) {
    throw DataError(fmt::format("'{}': malformed '{}': {}", path, metadata_key, error.what()));
  }
}

Factors stored_factors(const std::string& model_path) {
  const auto path = std::filesystem::path(model_path) / "factors.safetensors";
  std::error_code ignored;
  return std::filesystem::exists(path, ignored) ? read_factors(path.string()) : Factors();
}

model::LayerOperators operators_of(const Factors& factors) {
  model::LayerOperators operators;
  for (const auto& [layer, parts] : factors)
    operators[layer] = decompositions::make_factorization(decompositions::copy_of(parts));
  return operators;
}

}  // namespace kronlab::experiments
