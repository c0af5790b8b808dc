#include <boost/test/unit_test.hpp>

#include "framework/base/hash.hpp"
#include "framework/base/random.hpp"
#include "framework/model/streaming_decoder.hpp"
#include "tests/model/small_tokenizers.hpp"
#include "tests/support/test_data.hpp"

namespace kronlab::model {
namespace {

using Ids = std::vector<TokenId>;

const std::string replacement = "\uFFFD";

std::string streamed(const std::vector<std::string>& pieces) {
  CharacterStream stream;
  std::string text;
  for (const auto& piece : pieces) {
    text += stream.add(piece);
    BOOST_TEST(!invalid_utf8_offset(text));
  }
  return text + stream.finish();
}

std::vector<std::string> bytes_of(const std::string& text) {
  std::vector<std::string> bytes;
  for (const char byte : text) bytes.emplace_back(1, byte);
  return bytes;
}

/// The pieces that a decoder gives for ids, the last from finish(); each is valid UTF-8.
std::vector<std::string> decoded(const Tokenizer& tokenizer, const Ids& before, const Ids& ids) {
  StreamingDecoder decoder(tokenizer, before);
  std::vector<std::string> pieces;
  for (const TokenId id : ids) pieces.push_back(decoder.add(id));
  pieces.push_back(decoder.finish());
  for (const auto& piece : pieces) BOOST_TEST(!invalid_utf8_offset(piece), "'" << piece << "'");
  return pieces;
}

std::string joined(const std::vector<std::string>& pieces) {
  std::string text;
  for (const auto& piece : pieces) text += piece;
  return text;
}

std::unique_ptr<Tokenizer> byte_tokenizer() { return make(small_byte_level(byte_level()).dump()); }

/// The text of the ids behind `before`, from all of them at once.
std::string at_once(const Tokenizer& tokenizer, Ids before, const Ids& ids) {
  const std::size_t given = tokenizer.decode(before).size();
  before.insert(before.end(), ids.begin(), ids.end());
  const std::string text = tokenizer.decode(before).substr(given);
  return streamed({text});
}

BOOST_AUTO_TEST_SUITE(streaming_decoder)

BOOST_AUTO_TEST_CASE(characters_wait_until_they_are_whole) {
  CharacterStream stream;
  BOOST_TEST(stream.add("a\xE2") == "a");
  BOOST_TEST(stream.add("\x82") == "");
  BOOST_TEST(stream.add("\xAC\xF0\x9F") == "\u20AC");
  BOOST_TEST(stream.add("") == "");
  BOOST_TEST(stream.add("\x98\x80!") == "\U0001F600!");
  BOOST_TEST(stream.finish() == "");
  for (const std::string& text : {std::string("\u00E9\u20AC\U0001F600z"), std::string("\U0010FFFF\uFFFD\u0800")}) {
    BOOST_TEST(streamed(bytes_of(text)) == text);
    BOOST_TEST(streamed({text}) == text);
  }
}

BOOST_AUTO_TEST_CASE(bytes_of_no_character_are_replaced_one_for_each_longest_beginning) {
  // Table 3-8 of the Unicode standard, and Python's bytes.decode("utf-8", "replace").
  const std::vector<std::pair<std::string, int>> cases = {
      {"\xFF", 1},         {"\x80\x80", 2},         {"\xC0\xAF", 2},         {"\xE0\x80\x80", 3},
      {"\xED\xA0\x80", 3}, {"\xF4\x90\x80\x80", 4}, {"\xF0\x80\x80\x41", 3}, {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF", 4},
      {"\xE2\x82", 1},     {"\xF0\x9F\x98", 1},     {"\xC3\xC3", 2},         {"\xF8\x88\x80\x80\x80", 5}};
  for (const auto& [bytes, count] : cases) {
    std::string expected;
    for (int i = 0; i < count; ++i) expected += replacement;
    if (bytes.back() == 'A') expected += "A";
    BOOST_TEST(streamed({bytes}) == expected);
    BOOST_TEST(streamed(bytes_of(bytes)) == expected);
  }
  BOOST_TEST(streamed({"a\xE2(b"}) == "a" + replacement + "(b");
}

BOOST_AUTO_TEST_CASE(any_bytes_give_the_same_text_however_they_are_cut) {
  RandomStream random(5);
  for (int i = 0; i < 300; ++i) {
    std::string bytes;
    std::vector<std::string> pieces(1);
    // of these bytes a part makes characters
    constexpr unsigned char some[] = {0x41, 0x80, 0xBF, 0x9F, 0xC3, 0xE0, 0xE2, 0xED, 0xF0, 0xF4, 0xFF, 0xA0};
    for (int j = 0; j < 12; ++j) {
      const auto byte = static_cast<char>(some[random.below(std::ssize(some))]);
      bytes += byte;
      pieces.back() += byte;
      if (random.below(2) == 0) pieces.emplace_back();
    }
    BOOST_TEST(streamed(pieces) == streamed({bytes}));
  }
}

BOOST_AUTO_TEST_CASE(ids_of_byte_level_bpe_give_whole_characters) {
  const auto tokenizer = byte_tokenizer();
  const std::string text = "12 a \u20AC\U0001F600\u00E9";
  const auto pieces = decoded(*tokenizer, {}, tokenizer->encode(text));
  BOOST_TEST(joined(pieces) == text);
  const auto euro = decoded(*tokenizer, {}, {0xE2, 0x82, 0xAC});
  BOOST_TEST(euro == (std::vector<std::string>{"", "", "\u20AC", ""}), boost::test_tools::per_element());
  const auto broken = decoded(*tokenizer, {}, {0xE2, 0x82, 'x', 0xC3});
  BOOST_TEST(broken == (std::vector<std::string>{"", "", replacement + "x", "", replacement}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(ids_of_a_llama_tokenizer_keep_their_spaces_but_the_first) {
  const auto tokenizer = make(small_llama().dump());
  BOOST_TEST(joined(decoded(*tokenizer, {}, {263, 266, 259, 259, 260, 262})) == "a ab  ac");
  BOOST_TEST(joined(decoded(*tokenizer, {263}, {266, 262})) == " abc");
  BOOST_TEST(joined(decoded(*tokenizer, {}, {259, 263})) == " a");
  BOOST_TEST(joined(decoded(*tokenizer, {}, {260, 3 + 0xC3, 3 + 0xA9, 3 + 0xC3})) == "a\u00E9" + replacement);
  BOOST_TEST(joined(decoded(*tokenizer, {}, {})) == "");
}

BOOST_AUTO_TEST_CASE(random_ids_give_the_text_of_all_at_once) {
  std::vector<std::unique_ptr<Tokenizer>> tokenizers;
  tokenizers.push_back(make(small_llama().dump()));
  tokenizers.push_back(byte_tokenizer());
  for (const auto& tokenizer : tokenizers) {
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
      RandomStream random(seed);
      const auto some = [&](Index count) {
        Ids ids;
        while (std::ssize(ids) < count) ids.push_back(static_cast<TokenId>(random.below(tokenizer->vocab_size())));
        return ids;
      };
      const Ids before = tokenizer->encode(seed % 2 == 0 ? "" : "ab a"), ids = some(30);
      BOOST_TEST(joined(decoded(*tokenizer, before, ids)) == at_once(*tokenizer, before, ids));
    }
  }
}

BOOST_AUTO_TEST_CASE(sentencepiece_gives_whole_characters_and_spaces) {
  KRONLAB_NEEDS_DATA(file, "models/stories260k/tokenizer.model");
  TokenizerFiles files;
  files.tokenizer_model = read_text_file(file.string());
  const auto tokenizer = make_tokenizer(files);
  for (const std::string text : {"Once upon a time,  there was", "\u20AC \U0001F600\U0001F600x \u00E9", "a\n\n b"}) {
    const auto ids = tokenizer->encode(text);
    BOOST_TEST(joined(decoded(*tokenizer, {}, ids)) == tokenizer->decode(ids));
    const auto before = tokenizer->encode("He said:");
    BOOST_TEST(joined(decoded(*tokenizer, before, ids)) == at_once(*tokenizer, before, ids));
  }
  const Ids first = {*tokenizer->bos()}, words = tokenizer->encode("a b");
  BOOST_TEST(joined(decoded(*tokenizer, first, words)) == at_once(*tokenizer, first, words));
  // byte pieces lie at 3 .. 258: a character that stays incomplete, and one that does not
  for (const Ids& bytes : {Ids{3 + 0xE2, 3 + 0x82, 3 + 'x'}, Ids{3 + 0xE2, 3 + 0x82, 3 + 0xAC}, Ids{3 + 0xE2}}) {
    BOOST_TEST(joined(decoded(*tokenizer, words, bytes)) == at_once(*tokenizer, words, bytes));
  }
}

BOOST_AUTO_TEST_CASE(ids_outside_the_vocabulary_are_refused) {
  const auto tokenizer = byte_tokenizer();
  StreamingDecoder decoder(*tokenizer, {});
  BOOST_CHECK_THROW(decoder.add(static_cast<TokenId>(tokenizer->vocab_size())), DataError);
  BOOST_CHECK_THROW(StreamingDecoder(*tokenizer, Ids{-1}), DataError);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace kronlab::model
