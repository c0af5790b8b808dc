#include "distill/distillation_loss.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include "framework/kernels/distillation.hpp"
#include "framework/tensor/scratch.hpp"

namespace kronlab::distill {
namespace {

constexpr std::array<LossTerm, num_loss_terms> all_terms = {LossTerm::ce,     LossTerm::kl,        LossTerm::reverse_kl, LossTerm::jsd,
                                                            LossTerm::hidden, LossTerm::embedding, LossTerm::attention};

/// The token that follows each one in its sequence; -1 for the last.
std::vector<std::int32_t> next_tokens(std::span<const std::int32_t> ids, Index length) {
  std::vector<std::int32_t> targets(ids.begin() + 1, ids.end());
  targets.push_back(-1);
  for (std::size_t last = static_cast<std::size_t>(length) - 1; last < targets.size(); last += static_cast<std::size_t>(length)) targets[last] = -1;
  return targets;
}

std::shared_ptr<linalg::Trainable> random_projection(Index rows, Index cols, RandomStream random) {
  Tensor weight(DType::f32, {rows, cols});
  const double scale = 1.0 / std::sqrt(static_cast<double>(cols));
  for (float& value : weight.values<float>()) value = static_cast<float>(scale * random.normal());
  return std::make_shared<linalg::DenseOperator>(std::move(weight));
}

}  // namespace

std::string_view to_string(LossTerm term) {
  constexpr std::array<std::string_view, num_loss_terms> names = {"ce", "kl", "reverse-kl", "jsd", "hidden", "embedding", "attention"};
  return names[static_cast<std::size_t>(term)];
}

LossOptions LossOptions::from(const config::StrictTable& table) {
  LossOptions options;
  const auto losses = table.table("losses");
  double sum = 0;
  for (const auto term : all_terms) {
    const std::string key(to_string(term));
    options.weights[term] = losses.number(key, 0.0, {.least = 0.0});
    sum += options.weights[term];
  }
  if (!(sum > 0)) table.fail("losses", "every weight is 0, expected at least one above 0");
  options.temperature = table.number("temperature", 1.0, {.least = 1e-3, .most = 1e3});
  if (const auto pairs = table.integer_pairs("blocks")) {
    options.blocks = BlockMap::listed;
    options.listed = *pairs;
  } else {
    options.blocks = table.choice("blocks", {"uniform", "last"}, "uniform") == "last" ? BlockMap::last : BlockMap::uniform;
  }
  return options;
}

bool LossOptions::needs_teacher() const {
  return std::ranges::any_of(all_terms, [&](LossTerm term) { return term != LossTerm::ce && weights[term] > 0; });
}

BlockPairs LossOptions::pairs(Index student_blocks, Index teacher_blocks) const {
  if (blocks == BlockMap::listed) {
    for (const auto& [student, teacher] : listed) {
      if (student < 1 || student > student_blocks || teacher < 1 || teacher > teacher_blocks) {
        throw ConfigError(fmt::format("blocks: pair [{}, {}], expected 1 to {} of the student and 1 to {} of the teacher", student, teacher,
                                      student_blocks, teacher_blocks));
      }
    }
    if (listed.empty()) throw ConfigError("blocks: the list of pairs is empty");
    return listed;
  }
  if (student_blocks > teacher_blocks) {
    throw ConfigError(fmt::format("blocks: the student has {} blocks, the teacher {}; list the pairs to compare", student_blocks, teacher_blocks));
  }
  BlockPairs result;
  for (Index i = 1; i <= student_blocks; ++i) {
    result.emplace_back(i, blocks == BlockMap::last ? i + teacher_blocks - student_blocks : i * teacher_blocks / student_blocks);
  }
  return result;
}

DistillationLoss::DistillationLoss(LossOptions options, const model::ModelConfig& student, const model::ModelConfig* teacher, RandomStream random)
    : options_(std::move(options)), width_(student.width), num_blocks_(student.num_blocks), vocab_size_(student.vocab_size) {
  if (!options_.needs_teacher()) return;
  if (!teacher) throw ConfigError("losses other than ce need a teacher");
  expect_fits(options_, student, *teacher);
  teacher_width_ = teacher->width, teacher_blocks_ = teacher->num_blocks;
  if (weight(LossTerm::hidden) > 0 || weight(LossTerm::attention) > 0) pairs_ = options_.pairs(student.num_blocks, teacher->num_blocks);
  if (teacher_width_ == width_) return;
  const auto add = [&](const std::string& name) {
    projections_.emplace_back("projection." + name, random_projection(teacher_width_, width_, random.child(name)));
  };
  if (weight(LossTerm::hidden) > 0) {
    for (const auto& [of_student, of_teacher] : pairs_) add(fmt::format("{}-{}", of_student, of_teacher));
  }
  if (weight(LossTerm::embedding) > 0) add("0-0");
}

void DistillationLoss::expect_fits(const LossOptions& options, const model::ModelConfig& student, const model::ModelConfig& teacher) {
  if (!options.needs_teacher()) return;
  if (teacher.vocab_size != student.vocab_size) {
    throw ConfigError(fmt::format("the teacher has a vocabulary of {}, the student one of {}: they cannot be compared", teacher.vocab_size,
                                  student.vocab_size));
  }
  const bool compares_attention = options.weights[LossTerm::attention] > 0;
  if (!compares_attention && options.weights[LossTerm::hidden] <= 0) return;
  auto pairs = options.pairs(student.num_blocks, teacher.num_blocks);
  if (!compares_attention) return;
  if (teacher.num_heads != student.num_heads) {
    throw ConfigError(fmt::format("attention: the teacher has {} heads, the student {}", teacher.num_heads, student.num_heads));
  }
  std::ranges::sort(pairs);
  const auto twice = std::ranges::adjacent_find(pairs, {}, &std::pair<Index, Index>::first);
  if (twice != pairs.end()) {
    throw ConfigError(fmt::format("attention: block {} of the student has two targets, {} and {} of the teacher; expected one", twice->first,
                                  twice->second, std::next(twice)->second));
  }
}

model::TrainingPassOptions DistillationLoss::student_pass(model::TrainingPassOptions options) const {
  options.all_hidden = weight(LossTerm::hidden) > 0 || weight(LossTerm::embedding) > 0;
  if (weight(LossTerm::attention) > 0) {
    for (const auto& pair : pairs_) options.first_block = std::min(options.first_block, pair.first - 1);
  }
  return options;
}

model::TrainingPassOptions DistillationLoss::teacher_pass(model::Precision precision) const {
  model::TrainingPassOptions options{precision, model::Recompute::none, teacher_blocks_, false};
  options.all_hidden = weight(LossTerm::hidden) > 0 || weight(LossTerm::embedding) > 0;
  if (weight(LossTerm::attention) > 0) {
    for (const auto& pair : pairs_) options.first_block = std::min(options.first_block, pair.second - 1);
  }
  return options;
}

LossValues DistillationLoss::backward(model::TrainingPass& student, const model::TrainingPass* teacher, std::span<const std::int32_t> ids,
                                      Index length, double scale, const model::Gradients* gradients,
                                      std::function<void(std::size_t bucket)> bucket_complete, model::GradientObserver observer) {
  KRONLAB_EXPECTS(teacher || !options_.needs_teacher(), "a loss against a teacher without one");
  LossValues values;
  const TensorView d_normed = resized(d_normed_, static_cast<Index>(ids.size()), width_, student.normed().dtype);
  add_vocabulary_losses(student, teacher, ids, length, scale, gradients, d_normed, values);
  std::map<Index, double> hidden_errors;  // by hidden state of the student
  const auto add_hidden = [&](Index index, ConstTensorView hidden, TensorView gradient) {
    double error = 0;
    if (weight(LossTerm::hidden) > 0) {
      for (const auto& [of_student, of_teacher] : pairs_) {
        if (of_student == index) error += hidden_error(index, of_teacher, hidden, *teacher, scale * weight(LossTerm::hidden), gradients, gradient);
      }
    }
    if (index == 0 && weight(LossTerm::embedding) > 0) {
      values[LossTerm::embedding] = hidden_error(0, 0, hidden, *teacher, scale * weight(LossTerm::embedding), gradients, gradient);
    }
    hidden_errors[index] = error;
  };
  model::BackwardHooks hooks;
  if (weight(LossTerm::hidden) > 0 || weight(LossTerm::embedding) > 0) hooks.hidden = add_hidden;
  if (weight(LossTerm::attention) > 0) {
    hooks.attention = [&](Index block) -> std::optional<kernels::AttentionTarget> {
      const auto pair = std::ranges::find(pairs_, block + 1, &std::pair<Index, Index>::first);
      if (pair == pairs_.end()) return std::nullopt;
      return teacher->attention_target(pair->second - 1, scale * weight(LossTerm::attention));
    };
    hooks.attention_divergence = [&](Index, double divergence) { values[LossTerm::attention] += divergence; };
  }
  hooks.bucket_complete = std::move(bucket_complete);
  hooks.output_gradient = std::move(observer);
  if (hooks.hidden) {  // no gradient passes through these
    for (Index index = 0; index < student.options().first_block; ++index) {
      const ConstTensorView hidden = student.hidden(index);
      add_hidden(index, hidden, resized(discarded_, hidden.rows, hidden.cols, hidden.dtype));
    }
  }
  student.backward(d_normed, gradients, hooks);
  for (const auto& [index, error] : hidden_errors) values[LossTerm::hidden] += error;
  for (const auto term : all_terms) values.total += weight(term) * values[term];
  return values;
}

void DistillationLoss::add_vocabulary_losses(model::TrainingPass& student, const model::TrainingPass* teacher, std::span<const std::int32_t> ids,
                                             Index length, double scale, const model::Gradients* gradients, TensorView d_normed,
                                             LossValues& values) {
  const auto targets = next_tokens(ids, length);
  const auto n = static_cast<Index>(ids.size());
  const double positions = static_cast<double>(n), predicted = static_cast<double>(n - n / length);
  const bool compares = weight(LossTerm::kl) > 0 || weight(LossTerm::reverse_kl) > 0 || weight(LossTerm::jsd) > 0;
  const kernels::VocabularyLosses weights{scale * weight(LossTerm::ce) / predicted, scale * weight(LossTerm::kl) / positions,
                                          scale * weight(LossTerm::reverse_kl) / positions, scale * weight(LossTerm::jsd) / positions};
  const DType type = d_normed.dtype == DType::f64 ? DType::f64 : DType::f32;
  const Index most = std::clamp<Index>(logits_at_once / vocab_size_, 1, n);
  const Index num_parts = (n + most - 1) / most;
  kernels::VocabularyLosses sums;
  for (Index part = 0; part < num_parts; ++part) {
    const Index first = n * part / num_parts, count = n * (part + 1) / num_parts - first;
    const TensorView logits = resized(student_logits_, count, vocab_size_, type);
    student.logits(first, logits);
    ConstTensorView reference;
    if (compares) {
      const TensorView of_teacher = resized(teacher_logits_, count, vocab_size_, type);
      teacher->logits(first, of_teacher);
      reference = of_teacher;
    }
    const auto losses = kernels::vocabulary_losses(weights, options_.temperature, logits, reference,
                                                   std::span(targets).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count)));
    sums.ce += losses.ce, sums.kl += losses.kl, sums.reverse_kl += losses.reverse_kl, sums.jsd += losses.jsd;
    student.backward_head(first, logits, d_normed.block(first, 0, count, d_normed.cols), gradients);
  }
  values[LossTerm::ce] = sums.ce / predicted;
  values[LossTerm::kl] = sums.kl / positions;
  values[LossTerm::reverse_kl] = sums.reverse_kl / positions;
  values[LossTerm::jsd] = sums.jsd / positions;
}

double DistillationLoss::hidden_error(Index student_index, Index teacher_index, ConstTensorView hidden, const model::TrainingPass& teacher,
                                      double weight, const model::Gradients* gradients, TensorView gradient) {
  ConstTensorView target = teacher.hidden(teacher_index);
  if (target.dtype != hidden.dtype) {
    const TensorView converted = resized(converted_, target.rows, target.cols, hidden.dtype);
    convert(target, converted);
    target = converted;
  }
  if (projections_.empty()) return kernels::mean_squared_error(hidden, target, weight, gradient);
  const std::string name = fmt::format("projection.{}-{}", student_index, teacher_index);
  const auto& projection = *std::ranges::find(projections_, name, [](const auto& p) { return p.first; })->second;
  const TensorView projected = resized(projected_, hidden.rows, teacher_width_, hidden.dtype);
  const TensorView d_projected = resized(d_projected_, hidden.rows, teacher_width_, hidden.dtype);
  projection.apply(hidden, projected);
  fill_zero(d_projected);
  const double error = kernels::mean_squared_error(projected, target, weight, d_projected);
  const auto views = gradients ? gradients->of(static_cast<const linalg::LinearOperator*>(&projection)) : std::span<const TensorView>();
  if (views.empty()) {
    projection.apply_adjoint(d_projected, gradient, linalg::Write::add);
  } else {
    projection.backward(hidden, d_projected, views, gradient, linalg::Write::add);
  }
  return error;
}

}  // namespace kronlab::distill
