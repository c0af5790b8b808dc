#include <boost/test/unit_test.hpp>

#include "tests/model/small_tokenizers.hpp"
#include "tests/support/message_of.hpp"

namespace kronlab::model {
namespace {

using Ids = std::vector<TokenId>;

void check_refused(const std::string& tokenizer_json, std::initializer_list<const char*> parts) {
  BOOST_CHECK_THROW(make(tokenizer_json), DataError);
  const std::string message = testing::message_of([&] { make(tokenizer_json); });
  BOOST_TEST(message.starts_with("folder/tokenizer.json: "), message);
  for (const char* part : parts) BOOST_TEST(message.find(part) != std::string::npos, message);
}

BOOST_AUTO_TEST_SUITE(tokenizers)

BOOST_AUTO_TEST_CASE(a_llama_tokenizer_merges_by_rank_and_falls_back_to_bytes) {
  const auto tokenizer = make(small_llama().dump());
  BOOST_TEST(tokenizer->vocab_size() == 267);
  const std::vector<std::pair<std::string, Ids>> cases = {
      {"", {}},
      {"a", {263}},
      {"ab", {266}},              // ▁ a b -> ▁a b -> ▁ab
      {"abc", {263, 264}},        // bc (rank 1) comes before ▁ab (rank 3): ▁a bc
      {"cab", {259, 262, 265}},   // ▁ c ab
      {"b ab", {259, 261, 266}},  // ▁ b ▁ab
      {"  a", {259, 259, 263}},   // one space more than the text has
      {"\n", {259, 3 + 0x0A}},
      {"\u00e9", {259, 3 + 0xC3, 3 + 0xA9}},
      {"a</s>b", {263, 2, 259, 261}},
      {"<s>", {1}},
  };
  for (const auto& [text, ids] : cases) {
    BOOST_TEST_CONTEXT("text '" << text << "'")
    BOOST_TEST(tokenizer->encode(text) == ids, boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(a_llama_tokenizer_decodes_what_it_encoded) {
  const auto tokenizer = make(small_llama().dump());
  for (const std::string text : {"", "a", "abc cab  b", " a", "tab\t\n", "\u00e9\u4e16\U0001F600", "\u2028x", "0123"}) {
    BOOST_TEST(tokenizer->decode(tokenizer->encode(text)) == text);
  }
  BOOST_TEST(tokenizer->decode(Ids{263, 2, 263}) == "a</s> a");
  BOOST_TEST(tokenizer->decode(Ids{3 + 0xC3}) == "\xC3");
}

BOOST_AUTO_TEST_CASE(without_byte_fallback_unknown_characters_are_fused_or_not) {
  json file = small_llama();
  file["model"]["byte_fallback"] = false;
  BOOST_TEST(make(file.dump())->encode("xya") == (Ids{259, 0, 260}), boost::test_tools::per_element());
  file["model"]["fuse_unk"] = false;
  BOOST_TEST(make(file.dump())->encode("xya") == (Ids{259, 0, 0, 260}), boost::test_tools::per_element());
  file["model"]["unk_token"] = nullptr;
  check_refused(file.dump(), {"no unknown token", "0x00"});
}

BOOST_AUTO_TEST_CASE(single_digits_are_never_merged) {
  const json digits = {{"type", "Digits"}, {"individual_digits", true}};
  const auto split = make(small_byte_level({{"type", "Sequence"}, {"pretokenizers", {digits, byte_level()}}}).dump());
  const auto whole = make(small_byte_level(byte_level()).dump());
  BOOST_TEST(whole->encode("x12 a") == (Ids{'x', 256, 257}), boost::test_tools::per_element());
  BOOST_TEST(split->encode("x12 a") == (Ids{'x', '1', '2', 257}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(byte_level_bpe_decodes_every_text_and_parts_of_characters) {
  const auto tokenizer = make(small_byte_level(byte_level()).dump());
  std::string every;
  for (char32_t c = 1; c < 0x500; ++c) {
    every += c < 0x80 ? std::string(1, static_cast<char>(c))
                      : std::string{static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 0x3F))};
  }
  for (const std::string& text :
       {std::string(), std::string(" "), every, std::string("a\0b", 3), std::string("12 a\u4e16\U0001F600\r\n")}) {
    const Ids ids = tokenizer->encode(text);
    BOOST_TEST((tokenizer->decode(ids) == text));
  }
  BOOST_TEST(tokenizer->decode(Ids{0xE4}) == "\xE4");
  BOOST_TEST(tokenizer->encode("").empty());
}

BOOST_AUTO_TEST_CASE(a_byte_without_a_piece_is_an_error_of_the_text_that_has_it) {
  json file = small_byte_level(byte_level());
  file["model"]["vocab"].erase(ByteAlphabet().character(0x04));
  const auto tokenizer = make(file.dump());
  BOOST_TEST(tokenizer->encode("a").size() == 1u);
  BOOST_CHECK_THROW(tokenizer->encode("a\x04"), DataError);
  BOOST_TEST(testing::message_of([&] { tokenizer->encode("a\x04"); }).find("0x04") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(invalid_utf8_is_refused_with_the_offset_of_its_first_wrong_byte) {
  const auto tokenizer = make(small_byte_level(byte_level()).dump());
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"\xFF", "byte 0 (0xFF)"},
      {"abc\x80", "byte 3 (0x80)"},
      {"0123456789\xC3", "byte 10 (0xC3)"},  // ends within a character
      {"\u00e9\xC0\xAF", "byte 2 (0xC0)"},   // overlong
      {"\xE0\x80\x80", "byte 0 (0xE0)"},
      {"x\xED\xA0\x80", "byte 1 (0xED)"},     // a surrogate
      {"\xF4\x90\x80\x80", "byte 0 (0xF4)"},  // beyond U+10FFFF
  };
  for (const auto& [text, part] : cases) {
    BOOST_CHECK_THROW(tokenizer->encode(text), DataError);
    const auto message = testing::message_of([&, &bad = text] { tokenizer->encode(bad); });
    BOOST_TEST(message.find(part) != std::string::npos, message);
  }
}

BOOST_AUTO_TEST_CASE(ids_outside_the_vocabulary_are_refused) {
  for (const auto& tokenizer : {make(small_llama().dump()), make(small_byte_level(byte_level()).dump())}) {
    const auto size = static_cast<TokenId>(tokenizer->vocab_size());
    for (const TokenId id : {-1, size}) {
      BOOST_CHECK_THROW(tokenizer->decode(Ids{id}), DataError);
      const auto message = testing::message_of([&] { tokenizer->decode(Ids{id}); });
      BOOST_TEST(message.find(fmt::format("id {} is out of range", id)) != std::string::npos, message);
    }
  }
}

BOOST_AUTO_TEST_CASE(malformed_files_are_refused_with_what_is_wrong) {
  check_refused("{\"model\": ", {"not valid JSON"});
  check_refused("[]", {"expected an object"});
  check_refused("{}", {"'model'"});
  json file = small_llama();
  file["model"].erase("vocab");
  check_refused(file.dump(), {"'vocab'"});
  file = small_llama();
  file["model"]["merges"].push_back("nothing");
  check_refused(file.dump(), {"merge 4", "'nothing'"});
  file = small_llama();
  file["model"]["merges"].push_back(17);
  check_refused(file.dump(), {"merge 4", "number"});
  file = small_llama();
  file["model"]["vocab"]["a"] = "260";
  check_refused(file.dump(), {"piece 'a'", "string"});
  file["model"]["vocab"]["a"] = -5;
  check_refused(file.dump(), {"id -5", "'a'", "out of range"});
  TokenizerFiles files;
  files.origin = "folder";
  const auto none = testing::message_of([&] { make_tokenizer(files); });
  BOOST_TEST(none.find("folder: no tokenizer") != std::string::npos, none);
  files.vocab_json = "{}";
  const auto half = testing::message_of([&] { make_tokenizer(files); });
  BOOST_TEST(half.find("merges.txt is not") != std::string::npos, half);
}

BOOST_AUTO_TEST_CASE(missing_pieces_and_ids_used_twice_are_named) {
  json file = small_llama();
  file["model"]["vocab"].erase("ab");
  check_refused(file.dump(), {"merge 2", "needs the piece 'ab'"});
  file = small_llama();
  file["model"]["vocab"]["zz"] = 260;
  check_refused(file.dump(), {"id 260 is used twice", "'a'", "'zz'"});
  file = small_llama();
  file["added_tokens"][2]["id"] = 300;
  check_refused(file.dump(), {"'</s>' has two ids", "2", "300"});
  file = small_llama();
  file["model"]["unk_token"] = "<unknown>";
  check_refused(file.dump(), {"'<unknown>'", "not in the vocabulary"});
}

BOOST_AUTO_TEST_CASE(unknown_kinds_of_parts_are_named) {
  json file = small_llama();
  file["model"]["type"] = "Unigram";
  check_refused(file.dump(), {"'Unigram'", "BPE"});
  file["model"]["type"] = "WordPiece";
  check_refused(file.dump(), {"'WordPiece'"});
  file = small_llama();
  file["normalizer"] = {{"type", "NFKC"}};
  check_refused(file.dump(), {"normalizer 'NFKC'"});
  check_refused(small_byte_level({{"type", "BertPreTokenizer"}}).dump(), {"'BertPreTokenizer'"});
  json nested = byte_level();
  for (int i = 0; i < 20; ++i) nested = json{{"type", "Sequence"}, {"pretokenizers", json::array({nested})}};
  check_refused(small_byte_level(nested).dump(), {"nested"});
  json normalised = small_byte_level(byte_level());
  normalised["normalizer"] = small_llama()["normalizer"];
  check_refused(normalised.dump(), {"normalizer before byte-level BPE"});
}

BOOST_AUTO_TEST_CASE(boundary_tokens_are_the_named_ones_else_the_customary) {
  const auto customary = make(small_llama().dump());
  BOOST_TEST(customary->bos().value() == 1);
  BOOST_TEST(customary->eos().value() == 2);
  const auto named = make(small_llama().dump(), R"({"bos_token": {"content": "</s>"}, "eos_token": "<unk>"})");
  BOOST_TEST(named->bos().value() == 2);
  BOOST_TEST(named->eos().value() == 0);
  BOOST_TEST(!make(small_byte_level(byte_level()).dump())->bos().has_value());
  BOOST_CHECK_THROW(make(small_llama().dump(), "{"), DataError);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace kronlab::model
