#include <mpi.h>

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "distill/distillation_loss.hpp"
#include "experiments/pipeline/gradient_calibration.hpp"
#include "framework/model/random_weights.hpp"
#include "tests/support/random_matrix.hpp"
#include "tests/support/tiny_model.hpp"

using namespace kronlab;
using namespace kronlab::experiments;
using decompositions::GradientMoments;
using model::Precision;

namespace {

std::vector<std::int32_t> random_ids(Index count) {
  RandomStream random(5);
  std::vector<std::int32_t> ids(static_cast<std::size_t>(count));
  for (auto& id : ids) id = static_cast<std::int32_t>(random.below(259));
  return ids;
}

model::Transformer random_model() { return model::Transformer::load(testing::tiny_gpt2_config(), model::RandomWeights(testing::tiny_gpt2_config(), RandomStream(1))); }

/// In a window of two tokens only the first one's outputs reach the loss, so the gradient of a layer's bias is that of its
/// output there: S = Σ over windows b b^T / (2 windows), from gradients that are tested by themselves.
Matrix<double> reference(model::Transformer& model, const std::vector<std::int32_t>& ids, const std::string& bias) {
  distill::LossOptions options;
  options.weights[distill::LossTerm::ce] = 1.0;
  distill::DistillationLoss loss(options, model.config(), nullptr, RandomStream(0));
  const model::Parameters parameters(model, [&](const std::string& name) { return name == bias; });
  model::TrainingPass pass(model, {Precision::fp32, model::Recompute::none, -1, false});
  Matrix<double> sum;
  for (std::size_t at = 0; at + 2 <= ids.size(); at += 2) {
    model::Gradients gradients(parameters);
    const auto window = std::span(ids).subspan(at, 2);
    pass.forward(window, 2);
    loss.backward(pass, nullptr, window, 2, 1.0, &gradients);
    const auto b = gradients.views()[0].as<float>();
    if (sum.size() == 0) sum = Matrix<double>(b.cols, b.cols);
    for (Index i = 0; i < b.cols; ++i) {
      for (Index j = 0; j < b.cols; ++j) sum(i, j) += static_cast<double>(b(0, i)) * static_cast<double>(b(0, j)) / static_cast<double>(ids.size());
    }
  }
  return sum;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(gradient_calibration)

BOOST_AUTO_TEST_CASE(moments_are_those_of_the_gradients_in_the_outputs) {
  const comm::Communicator alone(MPI_COMM_SELF);
  auto model = random_model();
  const auto ids = random_ids(24);
  const std::map<std::string, GradientRequest> layers = {{"h.0.mlp.c_fc", {0, GradientMoments::full, {0}}},
                                                         {"h.1.attn.c_attn[v]", {1, GradientMoments::diagonal, {0}}},
                                                         {"h.2.mlp.c_proj", {2, GradientMoments::full, {0}}}};
  const auto found = gradient_moments(alone, model, ids, 2, Precision::fp32, layers, "test");
  BOOST_TEST_REQUIRE(found.size() == 3u);
  // float32 gradients of some 100 products each, one after another: relative errors of some sqrt(100 * 30) eps
  constexpr double tolerance = 1e-5;
  for (const char* name : {"h.0.mlp.c_fc", "h.2.mlp.c_proj"}) {
    BOOST_TEST(testing::relative_difference(found.at(name).view(), reference(model, ids, std::string(name) + ".bias").view()) < tolerance);
  }
  const auto expected = reference(model, ids, "h.1.attn.c_attn[v].bias");
  const auto& diagonal = found.at("h.1.attn.c_attn[v]");
  BOOST_TEST_REQUIRE(diagonal.rows() == 1);
  for (Index i = 0; i < diagonal.cols(); ++i) BOOST_TEST(std::abs(diagonal(0, i) - expected(i, i)) < tolerance * (expected(i, i) + 1e-12));
}

BOOST_AUTO_TEST_CASE(moments_have_the_same_bits_for_any_number_of_ranks) {
  const comm::Communicator world(MPI_COMM_WORLD), alone(MPI_COMM_SELF);
  const auto model = random_model();
  const auto ids = random_ids(7 * 16 + 3);
  const std::vector<int> owners = {world.size() - 1};
  const std::map<std::string, GradientRequest> together = {{"h.1.mlp.c_fc", {1, GradientMoments::full, owners}}, {"h.2.mlp.c_fc", {2, GradientMoments::diagonal, owners}}};
  const auto found = gradient_moments(world, model, ids, 16, Precision::bf16, together, "test");
  BOOST_TEST(found.empty() == (world.rank() != owners[0]));
  if (found.empty()) return;
  std::map<std::string, GradientRequest> by_one = together;
  for (auto& [name, request] : by_one) request.owners = {0};
  for (const auto& [name, expected] : gradient_moments(alone, model, ids, 16, Precision::bf16, by_one, "test")) {
    const auto& own = found.at(name);
    BOOST_TEST((std::equal(own.data(), own.data() + own.size(), expected.data())));
  }
}

BOOST_AUTO_TEST_SUITE_END()
