#include <boost/test/unit_test.hpp>
#include <cmath>

#include "framework/eval/evaluator.hpp"
#include "tests/support/forward_pass.hpp"
#include "tests/support/memory_source.hpp"
#include "tests/support/message_of.hpp"
#include "tests/support/reference.hpp"

namespace kronlab::eval {
namespace {

using model::Precision;

model::ModelConfig small_config() {
  model::ModelConfig c;
  c.architecture = model::Architecture::llama;
  c.vocab_size = 2500, c.width = 24, c.ffn_width = 40, c.num_blocks = 2;  // more than one slice of the vocabulary
  c.num_heads = 4, c.num_kv_heads = 2, c.head_dim = 6, c.context = 40;
  return c;
}

const model::Transformer& small_model() {
  static const auto instance = model::Transformer::load(small_config(), testing::random_model(small_config(), 3));
  return instance;
}

TokenisedText random_text(Index num_tokens) {
  TokenisedText text{.name = "random", .ids = {}, .num_words = 41};
  RandomStream random(5);
  for (Index i = 0; i < num_tokens; ++i) text.ids.push_back(static_cast<std::int32_t>(random.below(2500)));
  return text;
}

comm::Communicator alone(const comm::Communicator& world) { return world.split(world.rank()); }

Evaluation evaluate_alone(const TokenisedText& text, const Protocol& protocol, Index max_windows = 0,
                          Precision precision = Precision::fp64) {
  return evaluate(alone(comm::Communicator(MPI_COMM_WORLD)), small_model(), text, protocol, max_windows, precision,
                  "test");
}

/// Losses of the scored tokens of each window, from whole logits in double.
std::vector<std::vector<double>> slow_losses(const TokenisedText& text, const Protocol& protocol) {
  std::vector<std::vector<double>> losses;
  for (const Window& w : windows_of(static_cast<Index>(text.ids.size()), protocol, 0)) {
    const auto ids =
        std::span(text.ids).subspan(static_cast<std::size_t>(w.begin), static_cast<std::size_t>(w.length()));
    const auto pass = testing::forward_pass(small_model(), ids, w.length(), Precision::fp64);
    auto& window = losses.emplace_back();
    for (Index i = w.length() - 1 - w.num_scored; i < w.length() - 1; ++i) {
      window.push_back(testing::reference::negative_log_likelihood(pass.logits.matrix<double>().row(i),
                                                                   ids[static_cast<std::size_t>(i + 1)]));
    }
  }
  return losses;
}

double sum(std::span<const double> values) {
  double total = 0;
  for (const double value : values) total += value;
  return total;
}

// Two computations in double of one number, a mean of some 100 losses: sums of up to 40 terms in sequence through two
// blocks, so 1000 eps is ample and far from what any wrong weight would do.
const auto same = boost::test_tools::tolerance(1000 * 0x1p-52);

const Protocol overlapping{.window = 16, .stride = 7};
const Protocol with_tail{.window = 16, .stride = 16};

BOOST_AUTO_TEST_SUITE(evaluator)

BOOST_AUTO_TEST_CASE(mean_and_standard_error_over_tokens_are_those_of_a_slow_reference) {
  const auto text = random_text(101);
  for (const Protocol& protocol : {overlapping, with_tail}) {
    const auto losses = slow_losses(text, protocol);
    double total = 0, count = 0;
    for (const auto& window : losses) total += sum(window), count += static_cast<double>(window.size());
    const double mean = total / count;
    // the delta method for a ratio of sums, windows as clusters: var = m / (m - 1) sum (S_w - mean n_w)^2 / N^2
    double squares = 0;
    for (const auto& window : losses) squares += std::pow(sum(window) - mean * static_cast<double>(window.size()), 2);
    const auto m = static_cast<double>(losses.size());
    const Evaluation found = evaluate_alone(text, protocol);
    BOOST_TEST(found.mean_nll == mean, same);
    BOOST_TEST(found.standard_error == std::sqrt(m / (m - 1) * squares) / count, same);
    BOOST_TEST(found.perplexity == std::exp(mean), same);
    BOOST_TEST(found.perplexity_standard_error() == found.perplexity * found.standard_error, same);
    BOOST_TEST(found.predicted_tokens == static_cast<Index>(count));
    BOOST_TEST(found.windows.size() == losses.size());
  }
}

BOOST_AUTO_TEST_CASE(an_average_of_windows_is_the_mean_of_their_means) {
  const auto text = random_text(101);
  Protocol protocol = with_tail;
  protocol.average = Protocol::Average::windows;
  const auto losses = slow_losses(text, protocol);
  std::vector<double> means;
  for (const auto& window : losses) means.push_back(sum(window) / static_cast<double>(window.size()));
  const auto m = static_cast<double>(means.size());
  const double mean = sum(means) / m;
  double squares = 0;
  for (const double value : means) squares += (value - mean) * (value - mean);
  const Evaluation found = evaluate_alone(text, protocol);
  BOOST_TEST(found.mean_nll == mean, same);
  BOOST_TEST(found.standard_error == std::sqrt(squares / (m - 1) / m), same);  // the textbook's, of a mean
}

BOOST_AUTO_TEST_CASE(word_perplexity_shares_the_loss_of_all_tokens_among_the_words) {
  const auto text = random_text(101);
  Protocol protocol = with_tail;
  const Evaluation by_token = evaluate_alone(text, protocol);
  protocol.normaliser = Protocol::Normaliser::word;
  const Evaluation by_word = evaluate_alone(text, protocol);
  const double scale = static_cast<double>(by_token.predicted_tokens) / 41;
  BOOST_TEST(by_word.mean_nll == by_token.mean_nll * scale, same);
  BOOST_TEST(by_word.standard_error == by_token.standard_error * scale, same);
  BOOST_TEST(by_word.perplexity == std::exp(by_token.mean_nll * scale), same);
}

BOOST_AUTO_TEST_CASE(the_most_likely_tokens_are_counted) {
  auto text = random_text(31);
  // continue greedily, so that every token but the random ones is the most likely
  for (Index i = 1; i < 31; ++i) {
    const auto pass = testing::forward_pass(small_model(), std::span(text.ids).first(static_cast<std::size_t>(i)), i,
                                            Precision::fp64);
    if (i % 3 == 0) continue;
    const auto row = pass.logits.matrix<double>().row(i - 1);
    text.ids[static_cast<std::size_t>(i)] =
        static_cast<std::int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
  }
  const Evaluation found = evaluate_alone(text, {.window = 31, .stride = 31});
  BOOST_TEST(found.top1_accuracy == 20.0 / 30.0, same);
  BOOST_TEST(found.standard_error == 0.0);  // one window says nothing of the spread
}

BOOST_AUTO_TEST_CASE(every_number_has_the_same_bits_for_any_number_of_ranks) {
  const comm::Communicator world(MPI_COMM_WORLD);
  for (const auto precision : {Precision::fp32, Precision::bf16, Precision::fp64}) {
    for (const Protocol& protocol :
         {overlapping, with_tail, Protocol{.window = 40, .stride = 40, .average = Protocol::Average::windows}}) {
      for (const Index num_tokens : {17, 333, 1601}) {
        const auto text = random_text(num_tokens);
        const Evaluation together = evaluate(world, small_model(), text, protocol, 0, precision, "test");
        const Evaluation single = evaluate(alone(world), small_model(), text, protocol, 0, precision, "test");
        BOOST_TEST(together.mean_nll == single.mean_nll);
        BOOST_TEST(together.standard_error == single.standard_error);
        BOOST_TEST(together.perplexity == single.perplexity);
        BOOST_TEST(together.top1_accuracy == single.top1_accuracy);
        BOOST_TEST(together.predicted_tokens == single.predicted_tokens);
        BOOST_TEST((together.windows == single.windows));
      }
    }
  }
}

TokenisedText random_passages() {
  TokenisedText text{.name = "passages", .ids = {}, .num_words = 5};
  RandomStream random(6);
  for (const auto& [length, last] : {std::pair<Index, Index>{12, 1}, {5, 2}, {40, 3}, {7, 1}, {9, 2}}) {
    const auto begin = static_cast<Index>(text.ids.size());
    for (Index i = 0; i < length; ++i) text.ids.push_back(static_cast<std::int32_t>(random.below(2500)));
    text.passages.push_back({begin, begin + length, last});
  }
  return text;
}

const Protocol last_word{.kind = Protocol::Kind::last_word, .window = 40, .stride = 40};

BOOST_AUTO_TEST_CASE(the_last_word_of_a_passage_is_all_its_tokens_given_what_is_before_them) {
  const comm::Communicator world(MPI_COMM_WORLD);
  auto text = random_passages();
  std::vector<double> losses;
  double right = 0;
  for (std::size_t p = 0; p < text.passages.size(); ++p) {
    const auto& passage = text.passages[p];
    bool is_right = true;
    double loss = 0;
    for (Index i = passage.end - passage.num_scored; i < passage.end; ++i) {
      const auto before = std::span(text.ids).subspan(static_cast<std::size_t>(passage.begin), static_cast<std::size_t>(i - passage.begin));
      const auto pass = testing::forward_pass(small_model(), before, i - passage.begin, Precision::fp64);
      const auto row = pass.logits.matrix<double>().row(i - passage.begin - 1);
      const auto best = static_cast<std::int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
      if (p % 2 == 1 || (p == 2 && i < passage.end - 1)) text.ids[static_cast<std::size_t>(i)] = best;  // two words as the model has it, one in part
      is_right &= text.ids[static_cast<std::size_t>(i)] == best;
      loss += testing::reference::negative_log_likelihood(row, text.ids[static_cast<std::size_t>(i)]);
    }
    losses.push_back(loss), right += is_right;
  }
  BOOST_TEST(right == 2);
  const Evaluation found = evaluate(world, small_model(), text, last_word, 0, Precision::fp64, "test");
  BOOST_TEST(found.mean_nll == sum(losses) / 5, same);
  BOOST_TEST(found.perplexity == std::exp(sum(losses) / 5), same);
  BOOST_TEST(found.top1_accuracy == 0.4);
  BOOST_TEST(found.predicted_tokens == 9);
  BOOST_TEST_REQUIRE(found.windows.size() == 5u);
  for (std::size_t p = 0; p < 5; ++p) BOOST_TEST(found.windows[p].loss == losses[p], same);
  const Evaluation single = evaluate(alone(world), small_model(), text, last_word, 0, Precision::fp32, "test");
  BOOST_TEST(evaluate(world, small_model(), text, last_word, 0, Precision::fp32, "test").mean_nll == single.mean_nll);
  BOOST_TEST(evaluate(world, small_model(), text, last_word, 2, Precision::fp64, "test").mean_nll == (losses[0] + losses[1]) / 2, same);
}

BOOST_AUTO_TEST_CASE(texts_and_protocols_that_cannot_be_are_refused_on_every_rank) {
  const comm::Communicator world(MPI_COMM_WORLD);
  const auto message = [&](const TokenisedText& text, const Protocol& protocol, Index max_windows = 0) {
    return testing::message_of(
        [&] { evaluate(world, small_model(), text, protocol, max_windows, Precision::fp32, "test"); });
  };
  const auto expect = [](const std::string& found, const char* part) {
    BOOST_TEST(found.find(part) != std::string::npos, found);
  };
  expect(message(random_text(0), with_tail), "has 0 token(s), expected at least 2");
  expect(message(random_text(1), with_tail), "has 1 token(s), expected at least 2");
  Protocol dropping = with_tail;
  dropping.tail = Protocol::Tail::drop;
  expect(message(random_text(15), dropping), "'random' of 15 tokens has no window of 16");
  expect(message(random_text(100), {.window = 41, .stride = 41}), "window is 41, expected 2 to 40");
  expect(message(random_text(100), {.window = 40, .stride = 0}), "stride is 0");
  auto outside = random_text(100);
  outside.ids[50] = 2500;
  expect(message(outside, with_tail), "token 2500 is outside the model's vocabulary of 2500");
  outside.ids[50] = -1;
  expect(message(outside, with_tail), "token -1 is outside");
  Protocol words = with_tail;
  words.normaliser = Protocol::Normaliser::word;
  expect(message(random_text(100), words, 3), "word perplexity needs the whole text");
  auto wordless = random_text(100);
  wordless.num_words = 0;
  expect(message(wordless, words), "at least one word");
  expect(message(random_text(100), last_word), "'random' has no passages, protocol last-word window=40 needs them");
  expect(message(random_passages(), with_tail), "'passages' is one of passages");
  Protocol joined = last_word;
  joined.join = Protocol::Join::rows;
  expect(message(random_passages(), joined), "last-word has a window and nothing else");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace kronlab::eval
