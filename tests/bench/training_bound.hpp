#pragma once

#include <array>
#include <vector>

#include "framework/model/parameters.hpp"

namespace kronlab::bench {

/// Seconds and operations of products.
struct ProductRate {
  double seconds = 0;
  double operations = 0;
  double gflops() const { return operations / seconds * 1e-9; }
  void add(const ProductRate& other) { seconds += other.seconds, operations += other.operations; }
};

/// What a training step cannot do without, measured with nothing between: the products of a micro-batch in the step's
/// own shapes, types and transposes, with the weights of the models and the array of the gradients, and the memory that
/// the optimizer moves.
class TrainingBound {
 public:
  enum Direction { forward, by_input, by_weight };
  enum Site { head, mlp, attention };
  static constexpr int num_directions = 3, num_sites = 3;
  /// [direction][site]
  using Rates = std::array<std::array<ProductRate, num_sites>, num_directions>;

  struct Options {
    model::Precision precision = model::Precision::fp32;
    Index num_sequences = 0;  ///< of a micro-batch
    Index length = 0;
    Index head_rows = 0;     ///< most rows of logits that there are at one time
    bool recompute = false;  ///< all blocks but the last run forward twice
  };

  /// `teacher` may be null; all learns in `student`. All must outlive this.
  TrainingBound(const model::Transformer& student, const model::Transformer* teacher,
                const model::Parameters& parameters, const Options& options);

  /// Seconds of all products of a micro-batch. `elements` are as the gradients' and changed.
  Rates products(Tensor& elements);
  /// Operations of causal attention in a micro-batch: two products forward, four backward (the scores are counted
  /// once).
  double attention_operations() const;
  /// Bytes per second of a += s b over `elements`, reading both and writing one.
  static double bandwidth(Tensor& elements);
  /// Of AdamW: value and both moments read and written, gradient read.
  double optimizer_bytes() const;

 private:
  Index tokens() const { return options_.num_sequences * options_.length; }
  bool is_head(const model::Transformer& model, const model::LayerShape& layer) const;
  TensorView output(Index rows, Index cols, DType type);
  ConstTensorView input(Index rows, Index cols, Index slot) const;
  void convert_weights(const model::Transformer& model);
  void forward_blocks(const model::Transformer& model, Index end, Rates& rates);
  void backward_blocks(Tensor& elements, Rates& rates);
  void both_heads(Tensor& elements, Rates& rates);
  void backward_layer(const model::LayerShape& layer, ConstTensorView x, ConstTensorView dy, TensorView dx,
                      linalg::Write write, Tensor& elements, Rates& rates);
  TensorView gradient_of(const model::LayerShape& layer, Tensor& elements) const;

  const model::Transformer& student_;
  const model::Transformer* teacher_;
  const model::Parameters& parameters_;
  Options options_;
  DType activation_, stream_;
  std::array<Tensor, 2> inputs_;   ///< x and dy
  std::array<Tensor, 2> outputs_;  ///< in the activation's and the stream's type
};

}  // namespace kronlab::bench
