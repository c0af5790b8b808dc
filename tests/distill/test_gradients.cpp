// Every gradient in double against differences of the loss: an independent check of models that no golden file has.
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "decompositions/kronecker_sum.hpp"
#include "decompositions/permuted.hpp"
#include "distill/distillation_loss.hpp"
#include "framework/model/random_weights.hpp"
#include "tests/support/random_matrix.hpp"
#include "tests/support/tiny_model.hpp"

namespace kronlab::distill {
namespace {

using decompositions::Dense;
using decompositions::KroneckerSum;
using decompositions::LowRank;
using decompositions::Permuted;
using model::Precision;

/// Weights far from their initial symmetry, so that no gradient is small by accident.
model::Transformer spread_model(const model::ModelConfig& config, std::uint64_t seed) {
  auto model = model::Transformer::load(config, model::RandomWeights(config, RandomStream(seed)));
  model::Parameters parameters(model, [](const std::string&) { return true; });
  for (const auto& tensor : parameters.tensors()) {
    auto random = RandomStream(seed).child("spread").child(tensor.name);
    for (float& value : tensor.value->values<float>()) value = static_cast<float>((tensor.is_matrix ? 0.0 : value) + 0.25 * random.normal());
  }
  parameters.changed();
  return model;
}

/// Replaces layers by every kind of factorization.
void factorise(model::Transformer& model) {
  RandomStream random(9);
  const auto tensor = [&](std::vector<Index> shape, const char* name) {
    Tensor result = testing::random_tensor(std::move(shape), random.child(name));
    for (float& value : result.values<float>()) value *= 0.3f;
    return result;
  };
  for (const auto& layer : model.layers()) {
    const Index rows = layer.rows, cols = layer.cols;
    if (layer.name.ends_with("up_proj") || layer.name.ends_with("c_fc")) {
      model.replace_layer(layer.name, std::make_shared<KroneckerSum>(std::make_unique<Dense>(tensor({rows / 2, 3 * cols / 4}, "a")), tensor({3, 2, 4}, "b")));
    } else if (layer.name.ends_with("down_proj") || layer.name.ends_with("mlp.c_proj")) {
      auto inner = std::make_unique<KroneckerSum>(std::make_unique<LowRank>(tensor({rows / 4, 2}, "u"), tensor({2, 2 * cols / 2}, "v")), tensor({2, 4, 2}, "b"));
      model.replace_layer(layer.name, std::make_shared<Permuted>(std::move(inner), random.child("rows").permutation(rows), random.child("cols").permutation(cols)));
    } else if (layer.name.ends_with("v_proj") || layer.name.ends_with("[v]")) {
      model.replace_layer(layer.name, std::make_shared<LowRank>(tensor({rows, 3}, "u"), tensor({3, cols}, "v")));
    } else if (layer.name == "embed_tokens" || layer.name == "wte") {
      model.replace_layer(layer.name, std::make_shared<KroneckerSum>(std::make_unique<Dense>(tensor({rows / 2, cols / 2}, "a")), tensor({1, 2, 2}, "b")));
    }
  }
}

struct Setting {
  model::ModelConfig student = testing::tiny_llama_config(), teacher = testing::tiny_llama_config();
  bool is_factorised = false;
};

/// All losses at once: the gradient in each tensor, along a random direction, against a difference of sixth order:
/// f'(0) = (45 (f(h) - f(-h)) - 9 (f(2h) - f(-2h)) + f(3h) - f(-3h)) / 60 h, with an error of h^6 |f^(7)| / 140 + some
/// eps |f| / h: with h = 2e-3 and |f| = 10 below 1e-10 of gradients of 0.1.
double worst_error(const Setting& setting) {
  auto student = spread_model(setting.student, 1);
  if (setting.is_factorised) factorise(student);
  const auto teacher = spread_model(setting.teacher, 2);
  LossOptions options;
  options.weights.terms = {1.0, 0.5, 0.25, 0.25, 0.1, 0.1, 0.2};
  options.temperature = 1.5;
  DistillationLoss loss(options, setting.student, &setting.teacher, RandomStream(3));
  model::Parameters parameters(student, [](const std::string&) { return true; }, loss.projections());
  parameters.set_type(DType::f64);
  model::TrainingPass student_pass(student, loss.student_pass({Precision::fp64, model::Recompute::none, -1, false}));
  model::TrainingPass teacher_pass(teacher, loss.teacher_pass(Precision::fp64));
  constexpr Index length = 7;
  std::vector<std::int32_t> ids(3 * length);
  RandomStream random(4);
  for (auto& id : ids) id = static_cast<std::int32_t>(random.below(setting.student.vocab_size));
  teacher_pass.forward(ids, length);
  model::Gradients gradients(parameters), discarded(parameters);
  student_pass.forward(ids, length);
  loss.backward(student_pass, &teacher_pass, ids, length, 1.0, &gradients);
  const auto value = [&] {
    parameters.changed();
    student_pass.forward(ids, length);
    return loss.backward(student_pass, &teacher_pass, ids, length, 1.0, &discarded).total;
  };
  double worst = 0, largest = 0;
  std::vector<std::pair<double, double>> found;  // by the gradient, by differences
  for (std::size_t i = 0; i < parameters.tensors().size(); ++i) {
    const auto values = parameters.tensors()[i].value->values<double>();
    const auto gradient = to_matrix<double>(gradients.views()[i]);
    std::vector<double> before(values.begin(), values.end()), direction(values.size());
    double along = 0;
    for (std::size_t j = 0; j < direction.size(); ++j) {
      direction[j] = random.normal() / std::sqrt(static_cast<double>(direction.size()));
      along += direction[j] * gradient.data()[j];
    }
    const auto at = [&](double step) {
      for (std::size_t j = 0; j < direction.size(); ++j) values[j] = before[j] + step * direction[j];
      return value();
    };
    constexpr double h = 2e-3;
    const double difference = (45 * (at(h) - at(-h)) - 9 * (at(2 * h) - at(-2 * h)) + at(3 * h) - at(-3 * h)) / (60 * h);
    std::ranges::copy(before, values.begin());
    found.emplace_back(along, difference);
    largest = std::max(largest, std::abs(difference));
  }
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double error = std::abs(found[i].first - found[i].second) / std::max(std::abs(found[i].second), 1e-2 * largest);
    if (error > 1e-9) BOOST_TEST_MESSAGE(parameters.tensors()[i].name << ": " << found[i].first << ", by differences " << found[i].second);
    worst = std::max(worst, error);
  }
  BOOST_TEST_MESSAGE(found.size() << " tensors, worst relative error along a direction: " << worst);
  return worst;
}

constexpr double bar = 1e-9;

}  // namespace

BOOST_AUTO_TEST_SUITE(gradients)

BOOST_AUTO_TEST_CASE(gradients_of_a_dense_student_are_differences_of_the_loss) {
  Setting llama;
  BOOST_TEST(worst_error(llama) < bar);
  Setting gpt2;
  gpt2.student = gpt2.teacher = testing::tiny_gpt2_config();
  BOOST_TEST(worst_error(gpt2) < bar);
}

BOOST_AUTO_TEST_CASE(gradients_with_an_untied_head_biases_and_fewer_blocks_are_differences_of_the_loss) {
  Setting setting;
  setting.student.tied_head = false, setting.student.attention_bias = setting.student.mlp_bias = true;
  setting.student.num_blocks = 2, setting.teacher.num_blocks = 4;
  BOOST_TEST(worst_error(setting) < bar);
}

BOOST_AUTO_TEST_CASE(gradients_of_projections_between_widths_are_differences_of_the_loss) {
  Setting setting;
  setting.teacher.width = 48, setting.teacher.head_dim = 12, setting.teacher.num_kv_heads = 4;
  BOOST_TEST(worst_error(setting) < bar);
}

BOOST_AUTO_TEST_CASE(gradients_of_every_factorization_are_differences_of_the_loss) {
  for (const auto& config : {testing::tiny_llama_config(), testing::tiny_gpt2_config()}) {
    Setting setting;
    setting.student = setting.teacher = config;
    setting.is_factorised = true;
    BOOST_TEST(worst_error(setting) < bar);
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace kronlab::distill
