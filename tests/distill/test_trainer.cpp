#include <mpi.h>

#include <boost/test/unit_test.hpp>
#include <cstring>

#include "decompositions/kronecker_sum.hpp"
#include "distill/trainer.hpp"
#include "framework/model/random_weights.hpp"
#include "tests/support/message_of.hpp"
#include "tests/support/random_matrix.hpp"
#include "tests/support/tiny_model.hpp"

namespace kronlab::distill {
namespace {

using model::Precision;

model::Transformer random_model(const model::ModelConfig& config, std::uint64_t seed) {
  return model::Transformer::load(config, model::RandomWeights(config, RandomStream(seed)));
}

LossOptions all_losses() {
  LossOptions options;
  options.weights.terms = {1.0, 0.5, 0.25, 0.25, 0.1, 0.1, 0.2};
  options.temperature = 1.5;
  return options;
}

/// What a run leaves: bits of all values, losses and norms of each step.
struct Trained {
  std::vector<std::byte> values;
  std::vector<double> numbers;
  bool operator==(const Trained&) const = default;
};

struct Setting {
  model::ModelConfig config = testing::tiny_llama_config();
  Index num_micro_batches = 4;
  bool shard_optimizer = true;
  Precision precision = Precision::fp32;
  model::Recompute recompute = model::Recompute::none;
  Index steps = 3;
};

Trained train(const comm::Communicator& communicator, const Setting& setting) {
  auto student = random_model(setting.config, 1);
  auto teacher_config = setting.config;
  teacher_config.num_blocks = 6;
  const auto teacher = random_model(teacher_config, 2);
  DistillationLoss loss(all_losses(), setting.config, &teacher.config(), RandomStream(3));
  model::Parameters parameters(student, [](const std::string&) { return true; }, loss.projections());
  TrainerOptions options;
  options.precision = setting.precision, options.recompute = setting.recompute;
  options.window = 16, options.micro_batch = 2, options.num_micro_batches = setting.num_micro_batches;
  options.shard_optimizer = setting.shard_optimizer;
  std::vector<TensorSettings> settings(parameters.tensors().size(), {1.0, 0.1});
  Trainer trainer(communicator, student, &teacher, loss, parameters, settings, options);
  Trained result;
  for (Index step = 0; step < setting.steps; ++step) {
    const auto done = trainer.step(1e-2, [&](Index window, std::span<std::int32_t> ids) {
      auto random = RandomStream(4).child(static_cast<std::uint64_t>(step)).child(static_cast<std::uint64_t>(window));
      for (auto& id : ids) id = static_cast<std::int32_t>(random.below(setting.config.vocab_size));
    });
    BOOST_TEST(!done.was_skipped);
    result.numbers.insert(result.numbers.end(), done.loss.terms.begin(), done.loss.terms.end());
    result.numbers.insert(result.numbers.end(), {done.loss.total, done.gradient_norm});
  }
  for (const auto& tensor : parameters.tensors()) {
    const auto* bytes = static_cast<const std::byte*>(std::as_const(*tensor.value).view().data);
    result.values.insert(result.values.end(), bytes, bytes + tensor.value->size_bytes());
  }
  return result;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(trainer)

BOOST_AUTO_TEST_CASE(any_number_of_ranks_gives_the_same_bits) {
  const comm::Communicator world(MPI_COMM_WORLD), alone(MPI_COMM_SELF);
  for (const Index num_micro_batches : {1, 2, 4, 5, 8}) {
    for (const bool shard_optimizer : {true, false}) {
      Setting setting;
      setting.num_micro_batches = num_micro_batches, setting.shard_optimizer = shard_optimizer;
      const auto together = train(world, setting);
      BOOST_TEST((together == train(alone, setting)), num_micro_batches << " micro-batches, sharded " << shard_optimizer);
    }
  }
}

BOOST_AUTO_TEST_CASE(any_number_of_ranks_gives_the_same_bits_in_every_precision_and_architecture) {
  const comm::Communicator world(MPI_COMM_WORLD), alone(MPI_COMM_SELF);
  Setting gpt2;
  gpt2.config = testing::tiny_gpt2_config(), gpt2.precision = Precision::bf16;
  BOOST_TEST((train(world, gpt2) == train(alone, gpt2)));
  Setting in_double;
  in_double.precision = Precision::fp64;
  BOOST_TEST((train(world, in_double) == train(alone, in_double)));
}

BOOST_AUTO_TEST_CASE(computing_activations_again_changes_no_bit) {
  const comm::Communicator alone(MPI_COMM_SELF);
  for (const auto precision : {Precision::fp32, Precision::bf16}) {
    Setting kept, again;
    kept.precision = again.precision = precision;
    again.recompute = model::Recompute::blocks;
    BOOST_TEST((train(alone, kept) == train(alone, again)));
  }
}

BOOST_AUTO_TEST_CASE(a_step_with_a_loss_that_is_not_finite_changes_nothing_and_names_the_tensor) {
  const comm::Communicator world(MPI_COMM_WORLD);
  const auto config = testing::tiny_gpt2_config();
  auto student = random_model(config, 1);
  for (auto& [name, tensor] : student.other_tensors()) {
    if (name == "ln_f.bias") tensor->values<float>()[3] = std::numeric_limits<float>::quiet_NaN();
  }
  LossOptions options;
  options.weights[LossTerm::ce] = 1.0;
  DistillationLoss loss(options, config, nullptr, RandomStream(0));
  model::Parameters parameters(student, [](const std::string&) { return true; });
  TrainerOptions trainer_options;
  trainer_options.window = 8, trainer_options.micro_batch = 1, trainer_options.num_micro_batches = 2;
  Trainer trainer(world, student, nullptr, loss, parameters, std::vector<TensorSettings>(parameters.tensors().size()), trainer_options);
  const Tensor before = parameters.tensors().back().value->clone();
  const auto result = trainer.step(1.0, [](Index, std::span<std::int32_t> ids) { std::ranges::fill(ids, 5); });
  BOOST_TEST(result.was_skipped);
  BOOST_TEST(result.not_finite == "ln_f.weight");
  BOOST_TEST(trainer.optimizer().num_updates() == 0);
  BOOST_TEST((std::memcmp(std::as_const(before).view().data, parameters.tensors().back().value->view().data, static_cast<std::size_t>(before.size_bytes())) == 0));
}

BOOST_AUTO_TEST_CASE(a_source_that_fails_on_one_rank_fails_on_all) {
  const comm::Communicator world(MPI_COMM_WORLD);
  const auto config = testing::tiny_llama_config();
  auto student = random_model(config, 1);
  LossOptions options;
  options.weights[LossTerm::ce] = 1.0;
  DistillationLoss loss(options, config, nullptr, RandomStream(0));
  model::Parameters parameters(student, [](const std::string&) { return true; });
  TrainerOptions trainer_options;
  trainer_options.window = 8, trainer_options.micro_batch = 1, trainer_options.num_micro_batches = 4;
  Trainer trainer(world, student, nullptr, loss, parameters, std::vector<TensorSettings>(parameters.tensors().size()), trainer_options);
  BOOST_CHECK_THROW(trainer.step(1.0, [](Index window, std::span<std::int32_t>) { if (window == 3) throw DataError("window 3 is lost"); }),
                    CollectiveError);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace kronlab::distill
