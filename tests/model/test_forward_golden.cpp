// Against golden/tiny_* (transformers in float64; shared/tools/make_golden.py) and models/stories260k/reference* (an
// independent implementation in float64).
#include <boost/test/unit_test.hpp>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "framework/base/hash.hpp"
#include "framework/storage/safetensors.hpp"
#include "tests/model/forward.hpp"
#include "tests/support/random_matrix.hpp"
#include "tests/support/test_data.hpp"

namespace kronlab::model {
namespace {

using kronlab::testing::forward;
using kronlab::testing::ForwardPass;
using kronlab::testing::load_model;
using kronlab::testing::relative_difference;

// In the Frobenius norm, relative to the golden value. A forward pass is a chain of c = 8 roundings and products a
// block (norm, q/k/v, rotation, attention, output, norm, up, down) and the embedding, norm and head: c = 8 * 3 + 3 = 27
// links for these models. An inner product of n terms adds errors of n eps / 2 at worst, sqrt(n) eps / 2 when they are
// independent; the longest is n = 192. So sqrt(n) c eps / 2 = 13.9 * 27 * 5.96e-8 = 2.2e-5 if every link were amplified
// by one and all were as long as the longest; the bar of 2e-5 is just below.
constexpr double fp32_bar = 2e-5;
// The same chain with double's eps: 13.9 * 27 * 1.1e-16 = 4.2e-14.
constexpr double fp64_bar = 4.2e-14;
// LLaMA in transformers computes each root-mean-square norm and the cosines and sines in float32 even where the model
// is float64: 2 * 3 + 1 norms and 3 rotations, each rounded to float32's eps / 2 = 6e-8: 10 * 6e-8.
constexpr double fp64_bar_llama = 6e-7;

struct Golden {
  explicit Golden(const std::filesystem::path& folder)
      : model(load_model(folder)), file(folder / "golden.safetensors"), length(file.info("input_ids").shape.back()) {
    for (const Index id : file.read_integers("input_ids")) ids.push_back(static_cast<std::int32_t>(id));
  }
  Transformer model;
  storage::SafetensorsFile file;
  std::vector<std::int32_t> ids;
  Index length;
};

void check(const Golden& golden, Precision precision, double bar) {
  const ForwardPass pass = forward(golden.model, golden.ids, golden.length, precision);
  const auto expect_near = [&](const Matrix<double>& found, const std::string& name) {
    const double difference = relative_difference(found.view(), golden.file.load(name, DType::f64).view());
    BOOST_TEST(difference < bar, to_string(precision) << " " << name << ": " << difference << ", bar " << bar);
  };
  expect_near(pass.logits, "logits");
  for (std::size_t i = 0; i < pass.hidden.size(); ++i) expect_near(pass.hidden[i], fmt::format("hidden.{}", i));
}

/// Each sequence alone gives what it gives in the batch. f64: not one bit differs; f32: oneDNN chooses its blocks by
/// the number of rows, so sums may be ordered otherwise.
void check_batch(const Golden& golden) {
  for (const auto& [precision, bar] : {std::pair{Precision::fp64, fp64_bar}, {Precision::fp32, fp32_bar}}) {
    const ForwardPass batch = forward(golden.model, golden.ids, golden.length, precision);
    for (Index first = 0; first < batch.logits.rows(); first += golden.length) {
      const std::span<const std::int32_t> one(golden.ids.data() + first, static_cast<std::size_t>(golden.length));
      const ForwardPass alone = forward(golden.model, one, golden.length, precision);
      const auto part = batch.logits.view().block(first, 0, golden.length, batch.logits.cols());
      BOOST_TEST(relative_difference(alone.logits.view(), part) < bar);
    }
  }
}

BOOST_AUTO_TEST_SUITE(forward_golden)

BOOST_AUTO_TEST_CASE(gpt2_gives_the_logits_and_hidden_states_of_the_reference) {
  KRONLAB_NEEDS_DATA(folder, "golden/tiny_gpt2");
  const Golden golden(folder);
  check(golden, Precision::fp32, fp32_bar);
  check(golden, Precision::fp64, fp64_bar);
  check_batch(golden);
}

BOOST_AUTO_TEST_CASE(llama_gives_the_logits_and_hidden_states_of_the_reference) {
  for (const char* name : {"golden/tiny_llama", "golden/tiny_llama_tied"}) {
    KRONLAB_NEEDS_DATA(folder, name);
    const Golden golden(folder);
    BOOST_TEST_CONTEXT(name) {
      check(golden, Precision::fp32, fp32_bar);
      check(golden, Precision::fp64, fp64_bar_llama);
      check_batch(golden);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_causal_model_does_not_see_what_comes_later) {
  KRONLAB_NEEDS_DATA(folder, "golden/tiny_llama");
  Golden golden(folder);
  const ForwardPass before = forward(golden.model, golden.ids, golden.length, Precision::fp64);
  const Index changed = 20;
  golden.ids[changed] = (golden.ids[changed] + 1) % static_cast<std::int32_t>(golden.model.config().vocab_size);
  const ForwardPass after = forward(golden.model, golden.ids, golden.length, Precision::fp64);
  const auto rows = [&](const ForwardPass& pass, Index first, Index count) {
    return pass.logits.view().block(first, 0, count, pass.logits.cols());
  };
  BOOST_TEST(relative_difference(rows(after, 0, changed), rows(before, 0, changed)) == 0.0);
  BOOST_TEST(relative_difference(rows(after, changed, 1), rows(before, changed, 1)) > 1e-3);
  BOOST_TEST(relative_difference(rows(after, golden.length, golden.length),
                                 rows(before, golden.length, golden.length)) == 0.0);
}

BOOST_AUTO_TEST_CASE(stories260k_gives_the_logits_of_an_independent_implementation) {
  KRONLAB_NEEDS_DATA(folder, "models/stories260k");
  const auto reference = nlohmann::json::parse(read_text_file(folder / "reference.json"));
  const auto ids = reference.at("ids").get<std::vector<std::int32_t>>();
  std::istringstream numbers(read_text_file(folder / "reference_logits.txt"));
  const Transformer model = load_model(folder);
  Matrix<double> expected(1, model.config().vocab_size);
  for (Index i = 0; i < expected.size(); ++i) BOOST_TEST_REQUIRE(static_cast<bool>(numbers >> expected.data()[i]));
  for (const auto precision : {Precision::fp32, Precision::fp64}) {
    const auto pass = forward(model, ids, static_cast<Index>(ids.size()), precision);
    const auto last = pass.logits.view().block(pass.logits.rows() - 1, 0, 1, pass.logits.cols());
    // The reference is written with nine digits: 1e-8 of its largest value for double.
    BOOST_TEST(relative_difference(last, expected.view()) < (precision == Precision::fp32 ? fp32_bar : 1e-8));
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace kronlab::model
