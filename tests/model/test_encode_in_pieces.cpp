#include <boost/test/unit_test.hpp>

#include "framework/base/hash.hpp"
#include "framework/base/random.hpp"
#include "framework/model/encode_in_pieces.hpp"
#include "tests/model/small_tokenizers.hpp"
#include "tests/support/message_of.hpp"
#include "tests/support/test_data.hpp"

namespace kronlab::model {
namespace {

const RandomStream seed(41);

struct Pieces {
  std::vector<TokenId> ids;
  std::vector<std::size_t> ends;
};

Pieces encode(const Tokenizer& tokenizer, std::string_view text, std::size_t piece_size) {
  Pieces pieces;
  encode_in_pieces(tokenizer, text, piece_size, [&](std::span<const TokenId> ids, std::size_t end) {
    pieces.ids.insert(pieces.ids.end(), ids.begin(), ids.end());
    pieces.ends.push_back(end);
  });
  return pieces;
}

std::size_t longest(const Pieces& pieces) {
  std::size_t begin = 0, most = 0;
  for (const std::size_t end : pieces.ends) most = std::max(most, end - begin), begin = end;
  return most;
}

/// Draws from these, so that lines end in every way: blank, with spaces before or behind, with an added token.
std::string random_text(int num_parts, RandomStream random) {
  constexpr const char* parts[] = {"a",  "b",  "c",    " ",      " ",      "\n", "\n",
                                   "12", "'s", "</s>", "\u00E9", "\u65E5", "\t", "\r\n"};
  std::string text;
  for (int i = 0; i < num_parts; ++i) text += parts[random.below(std::size(parts))];
  return text;
}

void check_random_texts(const Tokenizer& tokenizer) {
  for (std::uint64_t i = 0; i < 20; ++i) {
    const std::string text = random_text(2000, seed.child(i));
    const auto whole = tokenizer.encode(text);
    for (const std::size_t piece_size : {1, 7, 100, 1000}) {
      const auto pieces = encode(tokenizer, text, piece_size);
      BOOST_TEST((pieces.ids == whole), "text " << i << " in pieces of " << piece_size);
      BOOST_TEST(pieces.ends.back() == text.size());
      BOOST_TEST(longest(pieces) <= std::max<std::size_t>(8 * piece_size, 100));
    }
  }
}

BOOST_AUTO_TEST_SUITE(pieces)

BOOST_AUTO_TEST_CASE(pieces_have_the_ids_of_the_whole_where_words_are_cut_by_a_pattern) {
  check_random_texts(*make(small_byte_level(byte_level()).dump()));
}

BOOST_AUTO_TEST_CASE(a_space_before_the_text_is_put_there_once) {
  check_random_texts(*make(small_byte_level({{"type", "ByteLevel"}, {"add_prefix_space", true}}).dump()));
  check_random_texts(*make(small_llama().dump()));
}

BOOST_AUTO_TEST_CASE(added_tokens_that_take_the_spaces_beside_them_are_not_cut_from_them) {
  auto tokenizer = small_byte_level(byte_level());
  tokenizer["added_tokens"] = {{{"content", "</s>"}, {"id", 258}, {"lstrip", true}, {"rstrip", true}}};
  check_random_texts(*make(tokenizer.dump()));
}

BOOST_AUTO_TEST_CASE(real_texts_in_pieces_have_the_ids_of_the_whole) {
  KRONLAB_NEEDS_DATA(gpt2, "tokenizer/gpt2");
  KRONLAB_NEEDS_DATA(sentencepiece, "models/stories260k/tokenizer.model");
  KRONLAB_NEEDS_DATA(wikitext, "text/wikitext-2/wiki.test.raw");
  KRONLAB_NEEDS_DATA(stories, "text/tinystories/tinystories_1000.txt");
  TokenizerFiles files, model;
  files.vocab_json = read_text_file(gpt2 / "vocab.json"), files.merges_txt = read_text_file(gpt2 / "merges.txt");
  model.tokenizer_model = read_text_file(sentencepiece);
  const auto check = [](const Tokenizer& tokenizer, const std::filesystem::path& path) {
    const std::string text = read_text_file(path);
    const auto pieces = encode(tokenizer, text, 20000);
    BOOST_TEST((pieces.ids == tokenizer.encode(text)), path);
    BOOST_TEST(longest(pieces) <= 20000u);
  };
  check(*make_tokenizer(files), wikitext);
  check(*make_tokenizer(files), stories);
  check(*make_tokenizer(model), stories);
}

BOOST_AUTO_TEST_CASE(a_text_without_a_place_to_cut_is_one_piece) {
  const auto tokenizer = make(small_byte_level(byte_level()).dump());
  const std::string text(5000, 'a');
  const auto pieces = encode(*tokenizer, text, 100);
  BOOST_TEST(pieces.ends.size() == 1u);
  BOOST_TEST((pieces.ids == tokenizer->encode(text)));
  BOOST_TEST(encode(*tokenizer, "", 100).ends.empty());
}

BOOST_AUTO_TEST_CASE(invalid_utf8_is_refused_with_its_offset_in_the_whole_text) {
  const auto tokenizer = make(small_byte_level(byte_level()).dump());
  std::string text;
  for (int line = 0; line < 100; ++line) text += "abc abc\n";
  text += "\xFF";
  BOOST_TEST(testing::message_of([&] { encode(*tokenizer, text, 50); }) == "not valid UTF-8 at byte 800 (0xFF)");
  BOOST_CHECK_THROW(encode(*tokenizer, text, 50), DataError);
  BOOST_CHECK_THROW(encode(*tokenizer, "a", 0), ContractError);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace kronlab::model
