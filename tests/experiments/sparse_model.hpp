#pragma once

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "framework/base/hash.hpp"
#include "framework/model/model_config.hpp"

namespace kronlab::testing {

/// A folder with config.json and a bf16 model.safetensors of holes, in Hugging Face's names.
inline void write_sparse_model(const std::filesystem::path& folder, const model::ModelConfig& config) {
  std::filesystem::create_directories(folder);
  write_file_atomically((folder / "config.json").string(), config.to_json());
  auto header = nlohmann::json::object();
  Index end = 0;
  for (const auto& [name, shape] : model::tensor_shapes(config)) {
    const Index bytes = 2 * std::accumulate(shape.begin(), shape.end(), Index{1}, std::multiplies<>());
    header[name == "lm_head.weight" ? name : "model." + name] = {{"dtype", "BF16"}, {"shape", shape}, {"data_offsets", {end, end + bytes}}};
    end += bytes;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const auto length = static_cast<std::uint64_t>(text.size());
  std::ofstream file(folder / "model.safetensors", std::ios::binary);
  file.write(reinterpret_cast<const char*>(&length), sizeof length);
  file << text;
  file.close();
  std::filesystem::resize_file(folder / "model.safetensors", 8 + length + static_cast<std::uintmax_t>(end));
}

}  // namespace kronlab::testing
