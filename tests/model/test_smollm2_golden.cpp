// A real pretrained model against transformers' numbers: shared/data/golden/smollm2, written by make_golden_smollm2.py.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <nlohmann/json.hpp>

#include "framework/base/hash.hpp"
#include "framework/eval/evaluator.hpp"
#include "tests/support/forward_pass.hpp"
#include "tests/support/open_model.hpp"
#include "tests/support/test_data.hpp"

namespace kronlab::model {
namespace {

using nlohmann::json;

constexpr Index window = 1024;
constexpr std::size_t bf16_windows = 8;  // of the 20: without bf16 instructions a window costs as much as in float32

#define KRONLAB_NEEDS_SMOLLM2(variable)                                                      \
  const auto variable##_found = testing::smollm2();                                          \
  if (!variable##_found) {                                                                   \
    testing::report_skipped("SmolLM2-135M: run experiments/quickstart/fetch_model.sh once"); \
    return;                                                                                  \
  }                                                                                          \
  const std::string variable = *variable##_found

json golden_of(const std::filesystem::path& file) { return json::parse(read_text_file(file)); }

/// The model and the ids of WikiText-2's raw test file, read once for all cases.
struct Subject {
  Transformer model;
  std::vector<TokenId> ids;
};

const Subject& subject(const std::string& gguf, const std::filesystem::path& text) {
  static const Subject instance{testing::load_model(gguf), testing::load_tokenizer(gguf)->encode(read_text_file(text))};
  return instance;
}

/// Mean loss of the predicted tokens of one window.
double window_loss(const Subject& subject, std::size_t index, Workspace& workspace) {
  const auto tokens = std::span(subject.ids).subspan(index * window, window);
  std::vector<double> nll(window - 1);
  eval::token_losses(subject.model, tokens.first(window - 1), tokens.last(window - 1), window - 1, workspace, nll, {});
  double sum = 0;
  for (const double value : nll) sum += value;
  return sum / static_cast<double>(nll.size());
}

struct WindowErrors {
  double first = 0.0;  ///< found - expected mean loss of window 0
  double mean = 0.0;   ///< the same over all windows
  double largest = 0.0;
};

WindowErrors window_errors(const Subject& subject, std::size_t num_windows, Precision precision, const json& golden) {
  const auto expected = golden.at("windows").at("mean_nll_of_first_20").get<std::vector<double>>();
  Workspace workspace(precision);
  WindowErrors errors;
  for (std::size_t i = 0; i < num_windows; ++i) {
    const double error =
        window_loss(subject, i, workspace) - (i == 0 && precision != Precision::bf16
                                                  ? golden.at("window_0_float64").at("mean_nll").get<double>()
                                                  : expected.at(i));
    if (i == 0) errors.first = error;
    errors.mean += error / static_cast<double>(num_windows);
    errors.largest = std::max(errors.largest, std::abs(error));
  }
  BOOST_TEST_MESSAGE(to_string(precision) << ", " << num_windows << " windows: window 0 " << errors.first << ", mean "
                                          << errors.mean << ", largest " << errors.largest << " nats");
  return errors;
}

BOOST_AUTO_TEST_SUITE(smollm2_golden)

BOOST_AUTO_TEST_CASE(the_file_is_the_one_that_made_the_golden_numbers) {
  KRONLAB_NEEDS_DATA(file, "golden/smollm2/smollm2-135m.json");
  KRONLAB_NEEDS_SMOLLM2(gguf);
  BOOST_TEST(sha256_of_file(gguf) == golden_of(file).at("source").at("gguf_sha256").get<std::string>());
}

BOOST_AUTO_TEST_CASE(every_string_has_the_ids_of_the_reference) {
  KRONLAB_NEEDS_DATA(file, "golden/smollm2/smollm2-135m.json");
  KRONLAB_NEEDS_SMOLLM2(gguf);
  const auto tokenizer = testing::load_tokenizer(gguf);
  const json golden = golden_of(file);
  BOOST_TEST_REQUIRE(golden.at("cases").size() > 300u);
  for (const json& one : golden.at("cases")) {
    const auto text = one.at("text").get<std::string>();
    BOOST_TEST_CONTEXT("text " << one.at("text").dump()) {
      const auto ids = tokenizer->encode(text);
      BOOST_TEST(ids == one.at("ids").get<std::vector<TokenId>>(), boost::test_tools::per_element());
      BOOST_TEST(tokenizer->decode(ids) == text);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_whole_text_has_the_ids_of_the_reference) {
  KRONLAB_NEEDS_DATA(file, "golden/smollm2/smollm2-135m.json");
  KRONLAB_NEEDS_DATA(text, "text/wikitext-2/wiki.test.raw");
  KRONLAB_NEEDS_SMOLLM2(gguf);
  const json expected = golden_of(file).at("wikitext-2/wiki.test.raw");
  const auto& ids = subject(gguf, text).ids;
  BOOST_TEST_REQUIRE(ids.size() == expected.at("tokens").get<std::size_t>());
  const auto first = expected.at("first").get<std::vector<TokenId>>();
  const auto last = expected.at("last").get<std::vector<TokenId>>();
  BOOST_TEST(std::equal(first.begin(), first.end(), ids.begin()));
  BOOST_TEST(std::equal(last.rbegin(), last.rend(), ids.rbegin()));
}

BOOST_AUTO_TEST_CASE(the_most_likely_next_tokens_and_their_logits_are_those_of_the_reference) {
  KRONLAB_NEEDS_DATA(file, "golden/smollm2/smollm2-135m.json");
  KRONLAB_NEEDS_DATA(text, "text/wikitext-2/wiki.test.raw");
  KRONLAB_NEEDS_SMOLLM2(gguf);
  const json golden = golden_of(file);
  const json& prompt = golden.at("prompt");
  const Transformer& model = subject(gguf, text).model;
  BOOST_TEST(model.num_parameters() == golden.at("parameters").get<Index>());
  const auto ids = testing::load_tokenizer(gguf)->encode(prompt.at("text").get<std::string>());
  BOOST_TEST_REQUIRE(ids == prompt.at("ids").get<std::vector<TokenId>>(), boost::test_tools::per_element());
  const auto length = static_cast<Index>(ids.size());
  const auto result = testing::forward_pass(model, ids, length, Precision::fp32);
  const auto logits = result.logits.matrix<float>().row(length - 1);
  std::vector<TokenId> order(logits.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<TokenId>(i);
  const auto top_ids = prompt.at("top_ids").get<std::vector<TokenId>>();
  const auto top_logits = prompt.at("top_logits").get<std::vector<double>>();
  std::ranges::partial_sort(
      order, order.begin() + static_cast<std::ptrdiff_t>(top_ids.size()),
      [&](TokenId a, TokenId b) { return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)]; });
  order.resize(top_ids.size());
  BOOST_TEST(order == top_ids, boost::test_tools::per_element());
  double largest = 0, sum = 0;
  for (std::size_t i = 0; i < top_ids.size(); ++i) {
    largest = std::max(largest, std::abs(logits[static_cast<std::size_t>(top_ids[i])] - top_logits[i]));
  }
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
  const double logsumexp_error = std::abs(std::log(sum) - prompt.at("logsumexp").get<double>());
  BOOST_TEST_MESSAGE("top-10 logits: largest error " << largest << ", logsumexp " << logsumexp_error);
  BOOST_TEST(largest < 1e-3);
  BOOST_TEST(logsumexp_error < 1e-3);
}

// The bar of float32 is 2e-5 nats. The products of a block have an error of some 44 u together (as in
// test_forward_golden.cpp) and those of 30 blocks are independent: 240 u of a logit of up to 17, 2.4e-4 nats for a
// token; the mean over 1023 tokens is 32 times better, 7.6e-6. Twice that, and the reference has the same error.
BOOST_AUTO_TEST_CASE(float32_losses_of_20_windows_are_those_of_the_reference) {
  KRONLAB_NEEDS_DATA(file, "golden/smollm2/smollm2-135m.json");
  KRONLAB_NEEDS_DATA(text, "text/wikitext-2/wiki.test.raw");
  KRONLAB_NEEDS_SMOLLM2(gguf);
  const auto errors = window_errors(subject(gguf, text), 20, Precision::fp32, golden_of(file));
  BOOST_TEST(std::abs(errors.first) < 2e-5);
  BOOST_TEST(std::abs(errors.mean) < 2e-5);
}

// bf16 has 8 bits: u = 2^-8, 65536 times that of float32, but the residual stream and the losses stay float32.
BOOST_AUTO_TEST_CASE(bf16_losses_are_near_those_of_the_float32_reference) {
  KRONLAB_NEEDS_DATA(file, "golden/smollm2/smollm2-135m.json");
  KRONLAB_NEEDS_DATA(text, "text/wikitext-2/wiki.test.raw");
  KRONLAB_NEEDS_SMOLLM2(gguf);
  const auto errors = window_errors(subject(gguf, text), bf16_windows, Precision::bf16, golden_of(file));
  BOOST_TEST(std::abs(errors.first) < 5e-3);
  BOOST_TEST(std::abs(errors.mean) < 5e-3);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace kronlab::model
