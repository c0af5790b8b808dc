#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "framework/base/types.hpp"

namespace kronlab::model {

enum class Architecture { gpt2, llama };

/// What config.json says of a model, in one vocabulary for both architectures.
struct ModelConfig {
  Architecture architecture = Architecture::llama;
  Index vocab_size = 0;
  Index width = 0;       ///< d, of the residual stream
  Index ffn_width = 0;   ///< hidden units of the MLP
  Index num_blocks = 0;
  Index num_heads = 0;
  Index num_kv_heads = 0;
  Index head_dim = 0;
  Index context = 0;     ///< longest sequence
  double norm_epsilon = 1e-5;
  double rope_theta = 10000.0;  ///< llama only
  bool tied_head = true;
  bool attention_bias = false;  ///< llama only; GPT-2 always has biases
  bool mlp_bias = false;        ///< llama only
  std::optional<Index> bos_id, eos_id;

  /// Reads the text of a Hugging Face config.json (transformers 4: `rope_theta`; 5: `rope_parameters`).
  /// @throws DataError naming what is not supported (architecture, RoPE scaling, activation), missing or impossible
  static ModelConfig from_json(std::string_view text, const std::string& origin);
  /// A config.json that transformers reads.
  std::string to_json() const;
};

/// Where in a block a layer's input comes from; layers of one site share their input and so its statistics.
enum class InputSite { none, attention, attention_output, mlp, mlp_hidden, head };

/// One linear layer: where its weight is in the file and how it is named in patterns.
struct LayerShape {
  std::string name;         ///< `h.3.mlp.c_fc`, `h.3.attn.c_attn[q]`, `layers.3.mlp.up_proj`, `wte`, `lm_head`
  std::string tensor;       ///< canonical tensor that holds the weight, `h.3.attn.c_attn.weight`
  std::string bias_tensor;  ///< empty: no bias
  Index first_row = 0;      ///< of the slice within the tensor
  Index rows = 0;           ///< out
  Index cols = 0;           ///< in
  Index block = -1;         ///< -1: embedding or head
  InputSite site = InputSite::none;
};

/// All linear layers in forward order: the embedding first, the head last (only where it is untied).
std::vector<LayerShape> linear_layers(const ModelConfig& config);

/// Name of the embedding layer (`wte`, `embed_tokens`); a tied head is the same layer.
std::string embedding_name(const ModelConfig& config);

/// Every parameter of the dense model, a tied head counted once.
Index num_parameters(const ModelConfig& config);

/// Every tensor of the dense model with its canonical name and shape ([out, in]; vectors have one extent).
struct TensorShape {
  std::string name;
  std::vector<Index> shape;
};
std::vector<TensorShape> tensor_shapes(const ModelConfig& config);
/// Those that are no weights of layers, named as Transformer::other_tensors: norms, positions, and the bias of each layer
/// (`h.0.attn.c_attn[q].bias`).
std::vector<TensorShape> other_tensor_shapes(const ModelConfig& config);

}  // namespace kronlab::model
