#include <algorithm>
#include <map>

#include "framework/model/transformer.hpp"

namespace kronlab::model {
namespace {

/// Rows of a fused tensor that are a layer's.
Tensor slice_of(const Tensor& whole, const LayerShape& shape) {
  Tensor slice = Tensor::uninitialised(DType::f32, {shape.rows, shape.cols});
  convert(whole.view().block(shape.first_row, 0, shape.rows, shape.cols), slice.view());
  return slice;
}

}  // namespace

/// Reads tensors of one model and checks them against the shapes that its configuration implies.
class Transformer::Loader {
 public:
  /// Weights of layers are read later where a source is given that lasts.
  Loader(const ModelConfig& config, const TensorSource& tensors, const LayerOperators& provided, std::shared_ptr<const TensorSource> lasting)
      : tensors_(tensors), lasting_(std::move(lasting)) {
    std::map<std::string, bool> is_needed;  // a fused tensor as long as one of its layers is not provided
    for (const auto& layer : linear_layers(config)) is_needed[layer.tensor] |= !provided.contains(layer.name);
    for (const auto& expected : tensor_shapes(config)) {
      if (is_needed.contains(expected.name) && !is_needed[expected.name]) continue;
      const auto& found = tensors.info(expected.name);
      if (found.shape != expected.shape) {
        throw DataError(fmt::format("tensor '{}' has shape [{}], the configuration implies [{}]", expected.name,
                                    fmt::join(found.shape, ", "), fmt::join(expected.shape, ", ")));
      }
    }
  }

  Tensor load(const std::string& name) const { return tensors_.load(name); }

  Norm norm(const std::string& stem) const {
    return {load(stem + ".weight"), tensors_.has(stem + ".bias") ? load(stem + ".bias") : Tensor()};
  }

  std::shared_ptr<const linalg::LinearOperator> weight(const LayerShape& shape) {
    if (lasting_) {
      return std::make_shared<linalg::DenseOperator>(shape.rows, shape.cols, [shape, tensors = lasting_] {
        Tensor whole = tensors->load(shape.tensor);
        return whole.rows() == shape.rows ? std::move(whole) : slice_of(whole, shape);
      });
    }
    const Tensor& whole = fused(shape.tensor);
    return std::make_shared<linalg::DenseOperator>(whole.rows() == shape.rows ? std::move(last_) : slice_of(whole, shape));
  }

  Tensor bias(const LayerShape& shape) const {
    if (shape.bias_tensor.empty()) return {};
    const Tensor whole = load(shape.bias_tensor);
    Tensor slice = Tensor::uninitialised(DType::f32, {shape.rows});
    convert(whole.view().block(0, shape.first_row, 1, shape.rows), slice.view());
    return slice;
  }

 private:
  /// The tensor that slices are cut from; the last one is kept, as its slices are asked for one after another.
  const Tensor& fused(const std::string& name) {
    if (name != last_name_ || last_.is_empty()) {
      last_ = load(name);
      last_name_ = name;
    }
    return last_;
  }

  const TensorSource& tensors_;
  std::shared_ptr<const TensorSource> lasting_;
  std::string last_name_;
  Tensor last_;
};

Transformer Transformer::load(const ModelConfig& config, const TensorSource& tensors, const LayerOperators& provided) {
  Loader loader(config, tensors, provided, nullptr);
  return made_by(loader, config, provided);
}

Transformer Transformer::open(const ModelConfig& config, std::shared_ptr<const TensorSource> tensors, const LayerOperators& provided) {
  Loader loader(config, *tensors, provided, tensors);
  return made_by(loader, config, provided);
}

Transformer Transformer::made_by(Loader& loader, const ModelConfig& config, const LayerOperators& provided) {
  const bool gpt2 = config.architecture == Architecture::gpt2;
  Transformer model;
  model.config_ = config;
  model.layers_ = linear_layers(config);
  if (gpt2) model.positions_ = std::make_shared<Tensor>(loader.load("wpe.weight"));
  model.final_norm_ = std::make_shared<Norm>(loader.norm(gpt2 ? "ln_f" : "norm"));
  for (Index b = 0; b < config.num_blocks; ++b) {
    const std::string stem = fmt::format("{}.{}.", gpt2 ? "h" : "layers", b);
    auto block = std::make_shared<Block>();
    block->attention_norm = loader.norm(stem + (gpt2 ? "ln_1" : "input_layernorm"));
    block->mlp_norm = loader.norm(stem + (gpt2 ? "ln_2" : "post_attention_layernorm"));
    model.blocks_.push_back(std::move(block));
  }
  for (const auto& shape : model.layers_) {
    const auto given = provided.find(shape.name);
    auto weight = given == provided.end() ? loader.weight(shape) : given->second;
    if (weight->rows() != shape.rows || weight->cols() != shape.cols) {
      throw DataError(fmt::format("layer '{}' is provided as [{}, {}], the configuration implies [{}, {}]", shape.name, weight->rows(),
                                  weight->cols(), shape.rows, shape.cols));
    }
    model.slot(shape.name) = std::move(weight);
    if (shape.block >= 0) model.block_layer(shape.name).bias = loader.bias(shape);
  }
  return model;
}

}  // namespace kronlab::model
