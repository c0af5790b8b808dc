#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "framework/linalg/linear_operator.hpp"
#include "framework/model/model_config.hpp"
#include "framework/tensor/tensor_source.hpp"

namespace kronlab::model {

/// Arithmetic of a forward pass. bf16: products of bf16 values and stored activations in bf16, accumulated in float32;
/// the residual stream, norms and losses stay float32. fp64 is for checking.
enum class Precision { fp32, bf16, fp64 };
std::string_view to_string(Precision precision);
/// @throws ConfigError listing what is known
Precision precision_from(std::string_view text);

/// One linear layer of a block. The weight is shared by all models that have not replaced it.
struct LinearLayer {
  std::shared_ptr<const linalg::LinearOperator> weight;  ///< [out, in]
  Tensor bias;                                           ///< f32 [out]; empty: none
};

/// A layer or root-mean-square norm.
struct Norm {
  Tensor gain;  ///< f32 [width]
  Tensor bias;  ///< f32 [width]; empty for root-mean-square
};

/// A transformer block of either architecture; GPT-2 has no `gate`.
struct Block {
  Norm attention_norm, mlp_norm;
  LinearLayer query, key, value, output;
  LinearLayer gate, up, down;
};

/// y = norm(x), of the kind that the norm's tensors tell.  x: [n, width] stream type, y: activation type
void apply_norm(const Norm& norm, double epsilon, ConstTensorView x, TensorView y);
/// y (+)= x W^T + bias.
void apply(const LinearLayer& layer, ConstTensorView x, TensorView y, linalg::Write write = linalg::Write::replace);

/// Of what stands between two products: f32, bf16 or f64.
DType activation_type(Precision precision);
/// Of the residual stream: f32, or f64 for Precision::fp64.
DType stream_type(Precision precision);

/// Buffers of a forward pass, kept between calls: activations between the products of one block.
class Workspace {
 public:
  explicit Workspace(Precision precision) : precision_(precision) {}
  Precision precision() const { return precision_; }
  DType activation_type() const { return model::activation_type(precision_); }
  DType stream_type() const { return model::stream_type(precision_); }
  /// Uninitialised [rows, cols] in slot `index`, reused by later calls with the same slot.
  TensorView buffer(std::size_t index, Index rows, Index cols, DType dtype);
  /// Rotary table of at least `length` rows, kept until another model asks for other angles.
  ConstTensorView rotary(Index length, const ModelConfig& config);

 private:
  Precision precision_;
  std::vector<Tensor> buffers_;
  Tensor rotary_;
  double rotary_theta_ = 0.0;  ///< base of rotary_
};

/// Called with the input of the layers of one site of one block: [tokens, in], in the activation type.
using InputObserver = std::function<void(Index block, InputSite site, ConstTensorView input)>;

/// Operators by the name of their layer.
using LayerOperators = std::map<std::string, std::shared_ptr<const linalg::LinearOperator>>;

/// A GPT-2 or LLaMA language model whose layers are linear operators. Forward only here (training_pass.hpp has the
/// gradient); copies share the weights of all layers until one of them is replaced or unfrozen.
class Transformer {
 public:
  /// Reads every tensor, but not those of layers that are provided. @throws DataError on a missing tensor or a shape that
  /// does not fit the configuration
  static Transformer load(const ModelConfig& config, const TensorSource& tensors, const LayerOperators& provided = {});
  /// The same, but the weight of a layer is read when it is first needed; @throws DataError then for values that are no
  /// numbers.
  static Transformer open(const ModelConfig& config, std::shared_ptr<const TensorSource> tensors, const LayerOperators& provided = {});

  /// Shares the weights of all layers with this model; replacing a layer of the copy leaves this one as it is.
  Transformer share() const;
  /// A student of these blocks of the teacher, in this sequence (DistilGPT-2: every other one).
  /// @throws ConfigError if a block does not exist
  Transformer with_blocks(std::span<const Index> blocks) const;
  /// Gives the head a weight of its own (at first the embedding's).
  void untie_head();

  const ModelConfig& config() const { return config_; }
  const std::vector<LayerShape>& layers() const { return layers_; }
  /// @throws ContractError if there is no such layer
  std::shared_ptr<const linalg::LinearOperator> layer(const std::string& name) const;
  /// @pre shapes agree
  void replace_layer(const std::string& name, std::shared_ptr<const linalg::LinearOperator> weight);
  /// Replaces a layer by a copy of its own that may be changed. @throws ConfigError if its operator does not learn
  std::shared_ptr<linalg::Trainable> unfreeze_layer(const std::string& name);

  /// Parameters of all operators, norms, biases and positions; a tied head counted once.
  Index num_parameters() const;
  /// The same without the operator of the head where it is untied.
  Index num_parameters_without_head() const;

  /// stream[i, :] = embedding of ids[i] (+ position i mod length).  stream: [ids.size(), width], stream_type()
  /// @pre length <= context; ids.size() is a multiple of length
  void embed(std::span<const std::int32_t> ids, Index length, TensorView stream) const;
  /// One block over sequences of `length` tokens, in place on the residual stream.
  void run_block(Index block, Index length, TensorView stream, Workspace& workspace, const InputObserver& observer = {}) const;
  /// The second half of run_block, behind its attention.
  void run_mlp(Index block, TensorView stream, Workspace& workspace, const InputObserver& observer = {}) const;
  /// The final norm: [n, width] in the activation type, ready for the head.
  void final_norm(ConstTensorView stream, TensorView normed) const;
  /// y = x W^T are the logits.
  const linalg::LinearOperator& head() const { return config_.tied_head ? *embedding_ : *head_; }

  const linalg::LinearOperator& embedding() const { return *embedding_; }
  const Block& block(Index index) const { return *blocks_[static_cast<std::size_t>(index)]; }
  const Norm& last_norm() const { return *final_norm_; }
  /// Learned positions: [context, width]; none for LLaMA.
  const Tensor* positions() const { return positions_.get(); }

  /// All non-layer tensors by canonical name, for export and sizes. They are this model's own.
  std::vector<std::pair<std::string, const Tensor*>> other_tensors() const;
  std::vector<std::pair<std::string, Tensor*>> other_tensors();

 private:
  Transformer() = default;
  class Loader;
  static Transformer made_by(Loader& loader, const ModelConfig& config, const LayerOperators& provided);
  std::shared_ptr<const linalg::LinearOperator>& slot(const std::string& name);
  /// The layer of a block. @throws ContractError if there is none of that name
  LinearLayer& block_layer(const std::string& name);
  void attend(const Block& block, Index index, Index length, TensorView stream, Workspace& workspace, const InputObserver& observer) const;

  ModelConfig config_;
  std::vector<LayerShape> layers_;
  std::shared_ptr<const linalg::LinearOperator> embedding_, head_;
  std::shared_ptr<Tensor> positions_;  ///< wpe, GPT-2 only
  std::shared_ptr<Norm> final_norm_;
  std::vector<std::shared_ptr<Block>> blocks_;
};

}  // namespace kronlab::model
