#include "experiments/pipeline/export_model.hpp"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "framework/base/hash.hpp"
#include "framework/storage/safetensors.hpp"

namespace kronlab::experiments {
namespace {

namespace fs = std::filesystem;
using model::Architecture;

std::string hugging_face_name(const model::ModelConfig& config, const std::string& canonical) {
  if (canonical.starts_with("lm_head")) return canonical;
  return (config.architecture == Architecture::gpt2 ? "transformer." : "model.") + canonical;
}

bool is_conv1d(const model::ModelConfig& config, const model::LayerShape& layer) {
  return config.architecture == Architecture::gpt2 && layer.block >= 0;
}

Tensor transposed(const Tensor& from) {
  Tensor to = Tensor::uninitialised(DType::f32, {from.cols(), from.rows()});
  const auto a = from.matrix<float>();
  const auto b = to.matrix<float>();
  for (Index i = 0; i < b.rows; ++i) {
    for (Index j = 0; j < b.cols; ++j) b(i, j) = a(j, i);
  }
  return to;
}

/// Collects the tensors of a dense model under Hugging Face's names.
class DenseTensors {
 public:
  DenseTensors(const model::Transformer& model, const Factors& left_out) : model_(model) {
    std::map<std::string, std::vector<const model::LayerShape*>> layers;  // fused tensors have several
    for (const auto& layer : model.layers()) layers[layer.tensor].push_back(&layer);
    for (const auto& [name, tensor] : model.other_tensors()) others_[name] = tensor;
    for (const auto& expected : model::tensor_shapes(model.config())) {
      const auto found = layers.find(expected.name);
      if (found == layers.end()) {
        add(expected, vector_of(expected));
      } else if (!std::ranges::all_of(found->second,
                                      [&](const auto* layer) { return left_out.contains(layer->name); })) {
        add(expected, weight_of(expected, found->second));
      }
    }
  }

  void write(const std::string& path) const {
    std::vector<storage::NamedTensor> named;
    for (const auto& [name, tensor] : tensors_) named.push_back({name, tensor.shape(), tensor.view()});
    storage::write_safetensors(path, named);
  }

 private:
  void add(const model::TensorShape& expected, Tensor tensor) {
    tensors_.emplace_back(hugging_face_name(model_.config(), expected.name), std::move(tensor));
  }

  /// The layers of a (fused) tensor below each other.
  Tensor weight_of(const model::TensorShape& expected, const std::vector<const model::LayerShape*>& layers) const {
    Tensor whole = Tensor::uninitialised(DType::f32, expected.shape);
    for (const auto* layer : layers) {
      const Tensor part = model_.layer(layer->name)->to_dense();
      convert(part.view(), whole.view().block(layer->first_row, 0, layer->rows, layer->cols));
    }
    return is_conv1d(model_.config(), *layers.front()) ? transposed(whole) : std::move(whole);
  }

  /// A norm, positions, or a bias, which a fused matrix has in pieces.
  Tensor vector_of(const model::TensorShape& expected) const {
    if (const auto found = others_.find(expected.name); found != others_.end()) {
      Tensor copy = found->second->clone();
      return copy;
    }
    Tensor whole = Tensor::uninitialised(DType::f32, expected.shape);
    const std::string stem = expected.name.substr(0, expected.name.rfind('.'));
    Index at = 0;
    for (const char* slice : {"[q]", "[k]", "[v]"}) {
      const Tensor& part = *others_.at(stem + slice + ".bias");
      convert(part.view(), whole.view().block(0, at, 1, part.size()));
      at += part.size();
    }
    return whole;
  }

  const model::Transformer& model_;
  std::map<std::string, const Tensor*> others_;
  std::vector<std::pair<std::string, Tensor>> tensors_;
};

}  // namespace

void export_model(const model::Transformer& model, const Factors& factors, const storage::ModelFiles& origin,
                  ExportFormat format, const std::string& folder) {
  const fs::path out(folder);
  if (fs::exists(out / "config.json"))
    throw ConfigError(fmt::format("'{}' holds a model already: choose another folder", folder));
  std::error_code error;
  fs::create_directories(out, error);
  if (error) throw StorageError(fmt::format("cannot create '{}': {}", folder, error.message()));
  const Factors none;
  DenseTensors(model, format == ExportFormat::factors ? factors : none).write((out / "model.safetensors").string());
  if (format == ExportFormat::factors) write_factors((out / "factors.safetensors").string(), factors);
  for (const char* name : {"tokenizer.json", "vocab.json", "merges.txt", "tokenizer.model", "tokenizer_config.json",
                           "special_tokens_map.json"}) {
    if (const auto text = origin.text(name)) write_file_atomically((out / name).string(), *text);
  }
  write_file_atomically((out / "config.json").string(),
                        model.config().to_json());  // last: with it the folder is a model
}

}  // namespace kronlab::experiments
