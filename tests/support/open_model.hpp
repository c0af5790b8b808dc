#pragma once

#include <memory>
#include <string>

#include "framework/model/tokenizer.hpp"
#include "framework/model/transformer.hpp"
#include "framework/storage/model_files.hpp"

namespace kronlab::testing {

inline model::ModelConfig config_of(const storage::ModelFiles& files) {
  return model::ModelConfig::from_json(files.text("config.json").value(), files.path() + "/config.json");
}

inline model::Transformer load_model(const std::string& path) {
  const auto files = storage::ModelFiles::open(path);
  return model::Transformer::load(config_of(*files), files->tensors());
}

inline std::unique_ptr<model::Tokenizer> load_tokenizer(const std::string& path) {
  const auto files = storage::ModelFiles::open(path);
  const auto text = [&](const char* name) { return files->text(name).value_or(""); };
  return model::make_tokenizer({text("tokenizer.json"), text("vocab.json"), text("merges.txt"), text("tokenizer.model"),
                                text("tokenizer_config.json"), path});
}

}  // namespace kronlab::testing
