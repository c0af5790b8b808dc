#include <boost/test/unit_test.hpp>

#include "framework/base/hash.hpp"
#include "framework/eval/protocol.hpp"
#include "framework/model/tokenizer.hpp"
#include "tests/support/message_of.hpp"
#include "tests/support/test_data.hpp"

namespace kronlab::eval {
namespace {

using Triple = std::array<Index, 3>;

std::vector<Triple> triples(Index num_tokens, const Protocol& protocol, Index max_windows = 0) {
  std::vector<Triple> result;
  for (const Window& w : windows_of(num_tokens, protocol, max_windows))
    result.push_back({w.begin, w.end, w.num_scored});
  return result;
}

Index gpt2_tokens(const std::filesystem::path& tokenizer_folder, const std::filesystem::path& text,
                  Protocol::Join join) {
  model::TokenizerFiles files;
  files.vocab_json = read_text_file(tokenizer_folder / "vocab.json");
  files.merges_txt = read_text_file(tokenizer_folder / "merges.txt");
  return static_cast<Index>(model::make_tokenizer(files)->encode(joined_text(read_text_file(text), join)).size());
}

BOOST_AUTO_TEST_SUITE(protocol)

BOOST_AUTO_TEST_CASE(windows_side_by_side_score_all_but_their_first_token) {
  const std::vector<Triple> expected = {{0, 4, 3}, {4, 8, 3}, {8, 10, 1}};
  BOOST_TEST((triples(10, {.window = 4, .stride = 4}) == expected));
}

BOOST_AUTO_TEST_CASE(a_stride_shorter_than_the_window_scores_each_token_once) {
  const std::vector<Triple> expected = {{0, 6, 5}, {2, 8, 2}, {4, 10, 2}, {6, 11, 1}};
  BOOST_TEST((triples(11, {.window = 6, .stride = 2}) == expected));
  for (const Index num_tokens : {2, 5, 6, 7, 17, 100, 101}) {
    for (const Index stride : {1, 2, 5}) {
      Index scored = 0;
      for (const auto& w : windows_of(num_tokens, {.window = 6, .stride = stride}, 0)) scored += w.num_scored;
      BOOST_TEST(scored == num_tokens - 1);
    }
  }
}

BOOST_AUTO_TEST_CASE(the_tail_is_kept_or_dropped_and_a_single_token_is_no_window) {
  const std::vector<Triple> whole = {{0, 4, 3}, {4, 8, 3}};
  BOOST_TEST((triples(10, {.window = 4, .stride = 4, .tail = Protocol::Tail::drop}) == whole));
  BOOST_TEST((triples(8, {.window = 4, .stride = 4, .tail = Protocol::Tail::drop}) == whole));
  BOOST_TEST((triples(9, {.window = 4, .stride = 4}) == whole));  // the ninth has nothing before it
  BOOST_TEST(triples(3, {.window = 4, .stride = 4, .tail = Protocol::Tail::drop}).empty());
  BOOST_TEST(triples(1, {.window = 4, .stride = 4}).empty());
  BOOST_TEST(triples(0, {.window = 4, .stride = 4}).empty());
}

BOOST_AUTO_TEST_CASE(at_most_as_many_windows_as_asked_for) {
  const std::vector<Triple> first = {{0, 4, 3}, {4, 8, 3}};
  BOOST_TEST((triples(100, {.window = 4, .stride = 4}, 2) == first));
  BOOST_TEST(triples(8, {.window = 4, .stride = 4}, 7).size() == 2u);
}

BOOST_AUTO_TEST_CASE(windows_and_strides_that_cannot_be_are_refused_with_their_numbers) {
  using testing::message_of;
  BOOST_CHECK_NO_THROW((Protocol{.window = 16, .stride = 16}.expect_valid(16)));
  BOOST_CHECK_THROW((Protocol{.window = 17, .stride = 1}.expect_valid(16)), ConfigError);
  BOOST_CHECK_THROW((Protocol{.window = 1, .stride = 1}.expect_valid(16)), ConfigError);
  BOOST_CHECK_THROW((Protocol{.window = 8, .stride = 0}.expect_valid(16)), ConfigError);
  BOOST_CHECK_THROW((Protocol{.window = 8, .stride = 9}.expect_valid(16)), ConfigError);
  const auto message = message_of([] { Protocol{.window = 17, .stride = 1}.expect_valid(16); });
  BOOST_TEST(message.find("window is 17, expected 2 to 16") != std::string::npos, message);
}

BOOST_AUTO_TEST_CASE(two_protocols_never_have_one_name) {
  using enum Protocol::Join;
  const Protocol all[] = {{},
                          {.window = 512},
                          {.stride = 512},
                          {.join = rows},
                          {.average = Protocol::Average::windows},
                          {.tail = Protocol::Tail::drop},
                          {.normaliser = Protocol::Normaliser::word}};
  for (const auto& a : all) {
    for (const auto& b : all) BOOST_TEST((a.name() == b.name()) == (&a == &b));
  }
}

BOOST_AUTO_TEST_CASE(rows_are_joined_by_blank_lines) {
  BOOST_TEST(joined_text("a\n \nb\nc", Protocol::Join::rows) == "a\n\n\n\n\nb\n\n\nc");
  BOOST_TEST(joined_text("a\n \nb\nc", Protocol::Join::none) == "a\n \nb\nc");
  BOOST_TEST(joined_text("", Protocol::Join::rows).empty());
}

BOOST_AUTO_TEST_CASE(words_stand_between_white_space) {
  BOOST_TEST(count_words("") == 0);
  BOOST_TEST(count_words(" \t\n\r\v\f") == 0);
  BOOST_TEST(count_words("one") == 1);
  BOOST_TEST(count_words(" one two\nthree\t= , ") == 5);
}

BOOST_AUTO_TEST_CASE(wikitext_2_has_the_published_numbers_of_gpt2_tokens) {
  KRONLAB_NEEDS_DATA(tokenizer, "tokenizer/gpt2");
  KRONLAB_NEEDS_DATA(text, "text/wikitext-2/wiki.test.raw");
  BOOST_TEST(gpt2_tokens(tokenizer, text, Protocol::Join::rows) == 287644);
  BOOST_TEST(gpt2_tokens(tokenizer, text, Protocol::Join::none) == 286221);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace kronlab::eval
