#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "framework/model/transformer.hpp"

namespace kronlab::model {

/// An array of a model that learns, and where its gradient lies in the array of all gradients.
struct LearnedTensor {
  std::string name;           ///< `layers.3.mlp.up_proj.right`, `h.0.ln_1.weight`, `wte.weight`
  Tensor* value = nullptr;    ///< f32, or f64 where the model is trained in double
  Index offset = 0;           ///< elements into the gradients; a multiple of 16
  Index size = 0;
  bool is_matrix = false;     ///< weights and factors; not biases and gains
};

/// Elements [begin, end) of the gradients that are complete at the same time in a backward pass.
struct GradientBucket {
  Index begin = 0;
  Index end = 0;
};

/// What of a model learns, in the sequence in which a backward pass completes the gradients: the final norm and an untied
/// head, the blocks from the last to the first, the embeddings and what belongs to the loss. The layers that learn are
/// unfrozen: the model gets copies of its own.
///
/// The model must outlive this, and none of its layers may be replaced meanwhile.
class Parameters {
 public:
  /// Whether a layer (`h.3.mlp.c_fc`) or another tensor (`h.3.ln_1.weight`) learns.
  using Predicate = std::function<bool(const std::string& name)>;
  using NamedLayer = std::pair<std::string, std::shared_ptr<linalg::Trainable>>;
  /// `extra` belong to the loss. @throws ConfigError if nothing learns, or a selected layer cannot
  Parameters(Transformer& model, const Predicate& learns, std::span<const NamedLayer> extra = {});

  std::span<const LearnedTensor> tensors() const { return tensors_; }
  /// Elements of the gradients, gaps between the tensors included.
  Index num_elements() const { return num_elements_; }
  /// Numbers that learn.
  Index num_parameters() const;
  /// Bucket 0: final norm, untied head; b: block num_blocks - b; the last: embeddings, extras. Some may be empty.
  std::span<const GradientBucket> buckets() const { return buckets_; }
  /// The first block whose gradient is needed; num_blocks: none; -1: the embeddings learn.
  Index first_block() const { return first_block_; }

  /// Positions in tensors() of an operator's or a tensor's numbers; an empty range where it is frozen.
  struct Range {
    std::size_t first = 0, count = 0;
  };
  Range range_of(const void* operator_or_tensor) const;
  /// Converts every value to f32 or f64.
  void set_type(DType dtype);
  DType dtype() const { return tensors_.front().value->dtype(); }
  /// To be called after values were written.
  void changed() const;

 private:
  void add(const std::string& name, Tensor* value, bool is_matrix);
  void add_layer(const std::string& name, std::shared_ptr<linalg::Trainable> layer);
  void close_bucket();

  std::vector<LearnedTensor> tensors_;
  std::vector<GradientBucket> buckets_;
  std::unordered_map<const void*, Range> ranges_;
  std::vector<std::shared_ptr<linalg::Trainable>> layers_;
  Index num_elements_ = 0;
  Index first_block_ = 0;
};

/// Gradients of all that learns, in one array.
class Gradients {
 public:
  /// Zeros of the parameters' type.
  explicit Gradients(const Parameters& parameters);
  void clear();

  /// The gradients of an operator or a tensor; none where it is frozen.
  std::span<const TensorView> of(const void* operator_or_tensor) const;
  /// The gradient of a tensor; an empty view where it is frozen.
  TensorView of_tensor(const Tensor& tensor) const;
  std::span<const TensorView> views() const { return views_; }
  /// All elements: [1, num_elements].
  Tensor& elements() { return elements_; }
  const Tensor& elements() const { return elements_; }

 private:
  const Parameters* parameters_;
  Tensor elements_;
  std::vector<TensorView> views_;
};

}  // namespace kronlab::model
