#include <omp.h>

#include <boost/test/unit_test.hpp>
#include <numeric>

#include "decompositions/decomposer.hpp"
#include "framework/model/generator.hpp"
#include "tests/support/forward_pass.hpp"
#include "tests/support/kernel_case.hpp"
#include "tests/support/memory_source.hpp"
#include "tests/support/message_of.hpp"

namespace kronlab::model {
namespace {

using testing::forward_pass;
using testing::message_of;
using testing::relative_difference;

using Ids = std::vector<TokenId>;

ModelConfig small_llama() {
  ModelConfig c;
  c.architecture = Architecture::llama;
  c.vocab_size = 50, c.width = 24, c.ffn_width = 40, c.num_blocks = 3;
  c.num_heads = 4, c.num_kv_heads = 2, c.head_dim = 6, c.context = 32;
  c.tied_head = false;
  return c;
}

ModelConfig small_gpt2() {
  ModelConfig c = small_llama();
  c.architecture = Architecture::gpt2;
  c.num_kv_heads = 4;
  c.tied_head = true;
  return c;
}

Transformer load(const ModelConfig& config) { return Transformer::load(config, testing::random_model(config, 1)); }

/// The embedding and all matrices of block 1 as factors: half of them a sum of Kronecker products, half of low rank.
Transformer factorised(const ModelConfig& config) {
  Transformer model = load(config);
  const auto svd = decompositions::make_svd_decomposer({.truncation = 5, .keep = {}});
  decompositions::KroneckerOptions options;
  options.right_rows = 2, options.right_cols = 4, options.num_terms = 2;
  const auto kronecker = decompositions::make_kronecker_decomposer(options);
  Index num_replaced = 0;
  for (const auto& layer : model.layers()) {
    if (layer.block != 1 && layer.name != embedding_name(config)) continue;
    const auto& decomposer = num_replaced++ % 2 == 0 ? *svd : *kronecker;
    const auto dense = model.layer(layer.name)->to_dense();
    model.replace_layer(layer.name, decomposer.decompose(layer.name, dense.view(), {}).factorization);
  }
  return model;
}

std::vector<Transformer> models() {
  std::vector<Transformer> all;
  for (const auto& config : {small_llama(), small_gpt2()}) {
    all.push_back(load(config));
    all.push_back(factorised(config));
  }
  return all;
}

Ids some_ids(Index count) {
  Ids ids;
  for (Index i = 0; i < count; ++i) ids.push_back(static_cast<TokenId>((7 * i * i + 3 * i + 1) % 50));
  return ids;
}

/// The logits of the last token, in the type of the stream.
Tensor last_logits(const Transformer& model, const Ids& ids, Precision precision) {
  const auto length = static_cast<Index>(ids.size());
  const Tensor all = forward_pass(model, ids, length, precision).logits;
  Tensor last = Tensor::uninitialised(all.dtype(), {1, all.cols()});
  convert(all.view().block(length - 1, 0, 1, all.cols()), last.view());
  return last;
}

/// Bound of the relative error of logits: products and attention one after another (6 a block for the longer of both
/// architectures, and the head), each with the error of a sum of some dozen terms, handed on by norms that keep
/// lengths.
double logits_bound(const ModelConfig& config, Precision precision) {
  const double num_steps = 6.0 * static_cast<double>(config.num_blocks) + 1;
  return num_steps * testing::bound(activation_type(precision), config.ffn_width + config.context);
}

/// Feeds ids in pieces that end at `ends` and compares the logits there with those of whole forward passes.
void check_pieces(const Transformer& model, const Ids& ids, const std::vector<Index>& ends, Precision precision,
                  double bound) {
  Generator generator(model, precision, ends.back());
  Index first = 0;
  for (const Index end : ends) {
    const auto at = [&](Index i) { return ids.begin() + static_cast<std::ptrdiff_t>(i); };
    const auto logits = generator.feed(Ids(at(first), at(end)));
    BOOST_TEST(generator.length() == end);
    BOOST_TEST(relative_difference(logits, last_logits(model, Ids(at(0), at(end)), precision).view()) < bound,
               to_string(precision) << ", tokens " << first << " to " << end);
    first = end;
  }
}

GenerationOptions greedy(Index max_tokens) {
  return {.max_tokens = max_tokens,
          .sampling = {.temperature = 0.0, .top_p = 1.0},
          .seed = 0,
          .end = {},
          .num_known = 0,
          .precision = Precision::fp64};
}

GenerationOptions drawn(std::uint64_t seed) {
  auto options = greedy(20);
  options.sampling = {.temperature = 1.5, .top_p = 0.9};
  options.seed = seed;
  return options;
}

/// The most likely token after `ids`, the first among equals.
TokenId most_likely(const Transformer& model, const Ids& ids) {
  const auto logits = last_logits(model, ids, Precision::fp64);
  const auto values = logits.values<double>();
  return static_cast<TokenId>(std::max_element(values.begin(), values.end()) - values.begin());
}

BOOST_AUTO_TEST_SUITE(generator)

BOOST_AUTO_TEST_CASE(logits_are_those_of_the_whole_forward_pass_however_the_text_is_fed) {
  const Ids ids = some_ids(32);
  std::vector<Index> one_by_one(32);
  std::iota(one_by_one.begin(), one_by_one.end(), Index{1});
  for (const auto& model : models()) {
    for (const auto precision : {Precision::fp64, Precision::fp32, Precision::bf16}) {
      const double bound = precision == Precision::fp64 ? 1e-12 : logits_bound(model.config(), precision);
      check_pieces(model, ids, one_by_one, precision, bound);
      check_pieces(model, ids, {32}, precision, bound);
      check_pieces(model, ids, {5, 6, 17, 18, 19, 31, 32}, precision, bound);
    }
  }
}

BOOST_AUTO_TEST_CASE(the_number_of_threads_changes_no_bit_in_double) {
  const int before = omp_get_max_threads();
  const Transformer model = load(small_llama());
  std::vector<Tensor> results;
  for (const int threads : {1, 3}) {
    omp_set_num_threads(threads);
    Generator generator(model, Precision::fp64, 12);
    generator.feed(some_ids(11));
    Tensor logits = Tensor::uninitialised(DType::f64, {1, 50});
    convert(generator.feed(Ids{3}), logits.view());
    results.push_back(std::move(logits));
  }
  omp_set_num_threads(before);
  BOOST_TEST(relative_difference(results[0].view(), results[1].view()) == 0.0);
}

BOOST_AUTO_TEST_CASE(greedy_text_is_the_argmax_of_whole_forward_passes) {
  for (const auto& model : models()) {
    Ids text = some_ids(4), told;
    const auto result = generate(model, text, greedy(15), [&](TokenId id) { told.push_back(id); });
    Ids expected;
    for (int i = 0; i < 15; ++i) {
      expected.push_back(most_likely(model, text));
      text.push_back(expected.back());
    }
    BOOST_TEST(result.ids == expected, boost::test_tools::per_element());
    BOOST_TEST(told == expected, boost::test_tools::per_element());
    BOOST_TEST((result.stop == Generation::Stop::length));
    BOOST_TEST(result.num_prompt_tokens == 4);
    BOOST_TEST(result.num_steps == 14);
  }
}

BOOST_AUTO_TEST_CASE(the_same_seed_gives_the_same_text_and_another_another) {
  const Transformer model = load(small_gpt2());
  const auto first = generate(model, some_ids(4), drawn(5)).ids;
  BOOST_TEST(generate(model, some_ids(4), drawn(5)).ids == first, boost::test_tools::per_element());
  BOOST_TEST((generate(model, some_ids(4), drawn(6)).ids != first));
}

BOOST_AUTO_TEST_CASE(token_i_is_drawn_by_child_i_of_the_stream) {
  const Transformer model = load(small_llama());
  const auto options = drawn(5);
  const auto result = generate(model, some_ids(4), options);
  Ids text = some_ids(4);
  for (std::size_t i = 0; i < result.ids.size(); ++i) {
    RandomStream random = RandomStream(5).child("generate").child(i);
    BOOST_TEST(sample(last_logits(model, text, Precision::fp64).view(), options.sampling, random) == result.ids[i]);
    text.push_back(result.ids[i]);
  }
}

BOOST_AUTO_TEST_CASE(a_text_ends_at_its_end_token_which_is_no_part_of_it) {
  const Transformer model = load(small_llama());
  const auto whole = generate(model, some_ids(4), drawn(5)).ids;
  auto options = drawn(5);
  options.end = whole[6];
  const auto at = std::find(whole.begin(), whole.end(), whole[6]);
  const auto result = generate(model, some_ids(4), options);
  BOOST_TEST(result.ids == Ids(whole.begin(), at), boost::test_tools::per_element());
  BOOST_TEST((result.stop == Generation::Stop::end));
}

BOOST_AUTO_TEST_CASE(a_text_ends_at_the_end_of_the_context) {
  const Transformer model = load(small_llama());
  for (const Index length : {1, 20, 31, 32}) {
    const auto result = generate(model, some_ids(length), greedy(1000));
    BOOST_TEST(std::ssize(result.ids) == 32 - length + 1);  // the last one is predicted by the last place
    BOOST_TEST((result.stop == Generation::Stop::context));
  }
  BOOST_TEST((generate(model, some_ids(20), greedy(13)).stop == Generation::Stop::length));
}

BOOST_AUTO_TEST_CASE(ids_that_are_not_known_are_never_drawn) {
  const Transformer model = load(small_llama());
  auto options = drawn(5);
  options.num_known = 10;
  for (const TokenId id : generate(model, some_ids(4), options).ids) BOOST_TEST(id < 10);
  options.num_known = 1000;
  BOOST_CHECK_NO_THROW(generate(model, some_ids(4), options));
}

BOOST_AUTO_TEST_CASE(bad_prompts_and_options_are_refused_with_their_numbers) {
  const Transformer model = load(small_llama());
  BOOST_CHECK_THROW(generate(model, Ids{}, greedy(1)), ConfigError);
  BOOST_CHECK_THROW(generate(model, some_ids(33), greedy(1)), ConfigError);
  const auto message = message_of([&] { generate(model, some_ids(33), greedy(1)); });
  BOOST_TEST(message.find("33 tokens") != std::string::npos, message);
  BOOST_TEST(message.find("only 32") != std::string::npos, message);
  BOOST_CHECK_THROW(generate(model, Ids{3, 50}, greedy(1)), DataError);
  BOOST_CHECK_THROW(generate(model, Ids{-1}, greedy(1)), DataError);
  BOOST_CHECK_THROW(generate(model, some_ids(3), greedy(0)), ConfigError);
  auto options = greedy(1);
  options.sampling.temperature = -1;
  BOOST_CHECK_THROW(generate(model, some_ids(3), options), ConfigError);
  options.sampling = {.temperature = 1.0, .top_p = 0.0};
  BOOST_CHECK_THROW(generate(model, some_ids(3), options), ConfigError);
}

BOOST_AUTO_TEST_CASE(more_tokens_than_there_is_room_for_are_refused) {
  const Transformer model = load(small_llama());
  BOOST_CHECK_THROW(Generator(model, Precision::fp32, 0), ContractError);
  BOOST_CHECK_THROW(Generator(model, Precision::fp32, 33), ContractError);
  Generator generator(model, Precision::fp32, 5);
  BOOST_CHECK_THROW(generator.feed(some_ids(6)), ContractError);
  BOOST_CHECK_THROW(generator.feed({}), ContractError);
  BOOST_CHECK_THROW(generator.feed(Ids{50}), ContractError);
  generator.feed(some_ids(5));
  BOOST_CHECK_THROW(generator.feed(Ids{1}), ContractError);
  BOOST_TEST(generator.length() == 5);
}

BOOST_AUTO_TEST_CASE(ways_to_stop_have_names) {
  BOOST_TEST(to_string(Generation::Stop::length) == "length");
  BOOST_TEST(to_string(Generation::Stop::end) == "end");
  BOOST_TEST(to_string(Generation::Stop::context) == "context");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace kronlab::model
