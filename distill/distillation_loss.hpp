#pragma once

#include <array>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "framework/base/random.hpp"
#include "framework/config/strict_table.hpp"
#include "framework/linalg/linear_operator.hpp"
#include "framework/model/training_pass.hpp"

namespace kronlab::distill {

/// What a student is trained by. Means are over all tokens of a micro-batch:
///
///   ce          -log p(next token), over the length - 1 predicted positions of each sequence
///   kl, reverse_kl, jsd   between the rows of logits, over all positions (kernels::VocabularyLosses)
///   hidden      Σ over block pairs of the mean squared error of the hidden states (the stream after a block; the last one
///               after the final norm)
///   embedding   the same for the stream before the first block
///   attention   Σ over block pairs of KL(teacher || student) of the attention rows, over sequences, heads and rows
enum class LossTerm { ce, kl, reverse_kl, jsd, hidden, embedding, attention };
inline constexpr std::size_t num_loss_terms = 7;
/// As in a configuration: "ce", "kl", "reverse-kl", ...
std::string_view to_string(LossTerm term);

/// A number for each term, and their weighted sum.
struct LossValues {
  double total = 0.0;
  std::array<double, num_loss_terms> terms{};
  double& operator[](LossTerm term) { return terms[static_cast<std::size_t>(term)]; }
  double operator[](LossTerm term) const { return terms[static_cast<std::size_t>(term)]; }
};

/// Which hidden states of student and teacher are compared: (blocks run in the student, blocks run in the teacher).
using BlockPairs = std::vector<std::pair<Index, Index>>;

/// `losses`, `temperature`, `blocks` of a distillation.
struct LossOptions {
  LossValues weights;  ///< its total is not used
  double temperature = 1.0;
  /// uniform: student block i of S to block i T / S of T (rounded down); last: the teacher's last S blocks, in sequence.
  enum class BlockMap { uniform, last, listed } blocks = BlockMap::uniform;
  BlockPairs listed;

  /// Reads `losses = { kl = 1.0, ... }`, `temperature` and `blocks = "uniform" | "last" | [[1, 2], [2, 4]]`.
  /// @throws ConfigError on a negative weight, none above 0, or a term that is not known
  static LossOptions from(const config::StrictTable& table);
  bool needs_teacher() const;
  /// @throws ConfigError if there is a block that does not exist, or more student than teacher blocks
  BlockPairs pairs(Index student_blocks, Index teacher_blocks) const;
};

/// A weighted sum of losses between a student and a teacher, and its gradient. The vocabulary losses go over blocks of
/// rows, so no tokens x vocabulary matrix exists. Where the widths of hidden states differ, a learned projection
/// [teacher width, student width] stands between them (Romero et al., FitNets, 2015).
class DistillationLoss {
 public:
  /// Elements of a block of logits: 64 MiB of float32.
  static constexpr Index logits_at_once = Index{1} << 24;

  /// @throws ConfigError if vocabularies, heads (attention) or the block map do not fit
  static void expect_fits(const LossOptions& options, const model::ModelConfig& student, const model::ModelConfig& teacher);
  /// `teacher` is null where only ce is wanted. @throws ConfigError as expect_fits, or if a teacher is missing
  DistillationLoss(LossOptions options, const model::ModelConfig& student, const model::ModelConfig* teacher, RandomStream random);

  const LossOptions& options() const { return options_; }
  /// The projections, by name: they learn with the student.
  const std::vector<std::pair<std::string, std::shared_ptr<linalg::Trainable>>>& projections() const { return projections_; }
  /// What a pass over the student (whose parameters start at `first_block`) and over the teacher must keep.
  model::TrainingPassOptions student_pass(model::TrainingPassOptions options) const;
  model::TrainingPassOptions teacher_pass(model::Precision precision) const;

  /// The losses of a micro-batch after both forward passes, and scale * their gradient into `gradients`.
  /// ids: the tokens of the micro-batch, sequences of `length`.
  LossValues backward(model::TrainingPass& student, const model::TrainingPass* teacher, std::span<const std::int32_t> ids, Index length,
                      double scale, const model::Gradients* gradients, std::function<void(std::size_t bucket)> bucket_complete = {},
                      model::GradientObserver observer = {});

 private:
  void add_vocabulary_losses(model::TrainingPass& student, const model::TrainingPass* teacher, std::span<const std::int32_t> ids, Index length,
                             double scale, const model::Gradients* gradients, TensorView d_normed, LossValues& values);
  double hidden_error(Index student_index, Index teacher_index, ConstTensorView hidden, const model::TrainingPass& teacher, double weight,
                      const model::Gradients* gradients, TensorView gradient);
  double weight(LossTerm term) const { return options_.weights[term]; }

  LossOptions options_;
  Index width_, num_blocks_, vocab_size_;
  Index teacher_width_ = 0, teacher_blocks_ = 0;
  BlockPairs pairs_;
  std::vector<std::pair<std::string, std::shared_ptr<linalg::Trainable>>> projections_;  ///< by pair, then the embedding's
  Tensor d_normed_, student_logits_, teacher_logits_, converted_, projected_, d_projected_, discarded_;
};

}  // namespace kronlab::distill
