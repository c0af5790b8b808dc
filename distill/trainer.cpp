#include "distill/trainer.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "framework/kernels/dispatch.hpp"

namespace kronlab::distill {
namespace {

model::Parameters& as_type(model::Parameters& parameters, model::Precision precision) {
  parameters.set_type(model::stream_type(precision));
  return parameters;
}

model::TrainingPassOptions student_pass(const DistillationLoss& loss, const model::Parameters& parameters, const TrainerOptions& options) {
  return loss.student_pass({options.precision, options.recompute, parameters.first_block(), false});
}

}  // namespace

Trainer::Trainer(const comm::Communicator& communicator, const model::Transformer& student, const model::Transformer* teacher,
                 DistillationLoss& loss, model::Parameters& parameters, std::vector<TensorSettings> settings, const TrainerOptions& options)
    : communicator_(communicator),
      loss_(loss),
      parameters_(as_type(parameters, options.precision)),
      options_(options),
      sum_(communicator, parameters, options.num_micro_batches),
      student_(student, student_pass(loss, parameters, options)) {
  const std::vector<model::GradientBucket> all = {{0, parameters.num_elements()}};
  optimizer_ = std::make_unique<AdamW>(options.adamw, std::move(settings), parameters, options.shard_optimizer ? sum_.own_pieces() : all);
  if (loss.options().needs_teacher()) {
    KRONLAB_EXPECTS(teacher, "a loss against a teacher without one");
    teacher_ = std::make_unique<model::TrainingPass>(*teacher, loss.teacher_pass(options.precision));
  }
}

StepResult Trainer::step(double rate, const WindowSource& windows) {
  StepResult result;
  result.loss = run_micro_batches(windows);
  sum_.finish();
  result.gradient_norm = sum_.norm();
  if (!std::isfinite(result.loss.total) || !std::isfinite(result.gradient_norm)) {
    result.was_skipped = true;
    result.not_finite = std::isfinite(result.gradient_norm) ? "loss" : first_not_finite();
    return result;
  }
  // PyTorch's clip_grad_norm_ adds 1e-6
  const double scale = options_.clip_norm > 0 ? std::min(1.0, options_.clip_norm / (result.gradient_norm + 1e-6)) : 1.0;
  update(rate, scale);
  return result;
}

LossValues Trainer::run_micro_batches(const WindowSource& windows) {
  constexpr std::size_t width = num_loss_terms + 1;
  std::vector<double> values(static_cast<std::size_t>(options_.num_micro_batches) * width);
  comm::coordinate(communicator_, [&] {
    std::vector<std::int32_t> ids(static_cast<std::size_t>(options_.micro_batch * options_.window));
    const auto own = sum_.own_micro_batches();
    for (Index number = own.begin; number < own.end; ++number) {
      for (Index i = 0; i < options_.micro_batch; ++i) {
        windows(number * options_.micro_batch + i, std::span(ids).subspan(static_cast<std::size_t>(i * options_.window), static_cast<std::size_t>(options_.window)));
      }
      if (teacher_) teacher_->forward(ids, options_.window);
      student_.forward(ids, options_.window);
      auto& gradients = sum_.begin();
      const auto loss = loss_.backward(student_, teacher_.get(), ids, options_.window, 1.0 / static_cast<double>(options_.num_micro_batches), &gradients,
                                       [&](std::size_t bucket) { sum_.bucket_complete(bucket); });
      sum_.end();
      double* row = &values[static_cast<std::size_t>(number) * width];
      std::ranges::copy(loss.terms, row);
      row[num_loss_terms] = loss.total;
    }
  });
  communicator_.sum(std::span(values));  // each number is of one rank, so this is exact
  LossValues mean;
  for (std::size_t number = 0; number < values.size(); number += width) {
    for (std::size_t term = 0; term < num_loss_terms; ++term) mean.terms[term] += values[number + term];
    mean.total += values[number + num_loss_terms];
  }
  for (double& term : mean.terms) term /= static_cast<double>(options_.num_micro_batches);
  mean.total /= static_cast<double>(options_.num_micro_batches);
  return mean;
}

/// Of the tensors in the sequence of the backward pass, on any rank.
std::string Trainer::first_not_finite() {
  const auto tensors = parameters_.tensors();
  Index first = static_cast<Index>(tensors.size());
  kernels::for_real_type(parameters_.dtype(), [&]<class T>(T) {
    const auto values = sum_.total().elements().values<T>();
    for (const auto& piece : sum_.own_pieces()) {
      for_tensors_in(parameters_, piece, [&](std::size_t tensor, Index, Index element, Index count) {
        const auto part = values.subspan(static_cast<std::size_t>(element), static_cast<std::size_t>(count));
        if (!std::ranges::all_of(part, [](T value) { return std::isfinite(value); })) first = std::min(first, static_cast<Index>(tensor));
      });
    }
  });
  first = -communicator_.max(-first);
  return first < static_cast<Index>(tensors.size()) ? tensors[static_cast<std::size_t>(first)].name : "the norm of all gradients";
}

void Trainer::update(double rate, double gradient_scale) {
  if (!options_.shard_optimizer) sum_.all_gather(sum_.total().elements());
  optimizer_->step(rate, gradient_scale, sum_.total());
  if (options_.shard_optimizer && communicator_.size() > 1) share_values();
  parameters_.changed();
}

/// Each rank has updated the values of its pieces: they travel in the array of the gradients, which are used up.
void Trainer::share_values() {
  kernels::for_real_type(parameters_.dtype(), [&]<class T>(T) {
    const auto elements = sum_.total().elements().values<T>();
    const auto of_tensor = [&](std::size_t tensor, Index within, Index count) {
      return parameters_.tensors()[tensor].value->values<T>().subspan(static_cast<std::size_t>(within), static_cast<std::size_t>(count));
    };
    for (const auto& piece : sum_.own_pieces()) {
      for_tensors_in(parameters_, piece, [&](std::size_t tensor, Index within, Index element, Index count) {
        std::ranges::copy(of_tensor(tensor, within, count), elements.begin() + element);
      });
    }
    sum_.all_gather(sum_.total().elements());
    for_tensors_in(parameters_, {0, parameters_.num_elements()}, [&](std::size_t tensor, Index within, Index element, Index count) {
      std::copy_n(elements.begin() + element, count, of_tensor(tensor, within, count).begin());
    });
  });
}

}  // namespace kronlab::distill
