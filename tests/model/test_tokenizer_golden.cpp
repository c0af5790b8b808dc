#include <boost/test/unit_test.hpp>
#include <fstream>
#include <nlohmann/json.hpp>

#include "framework/base/hash.hpp"
#include "framework/model/tokenizer.hpp"
#include "tests/support/test_data.hpp"

namespace kronlab::model {
namespace {

using nlohmann::json;

/// CRC-32 (IEEE 802.3) of the ids as little-endian 32-bit numbers.
std::uint32_t crc32_of(std::span<const TokenId> ids) {
  std::uint32_t crc = ~0u;
  for (const TokenId id : ids) {
    for (int shift = 0; shift < 32; shift += 8) {
      crc ^= static_cast<std::uint32_t>(id) >> shift & 0xFF;
      for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? 0xEDB88320u : 0u);
    }
  }
  return ~crc;
}

enum class RoundTrip { exact, not_promised };

void check_cases(const Tokenizer& tokenizer, const json& cases, RoundTrip round_trip) {
  BOOST_TEST_REQUIRE(cases.size() > 300u);
  for (const json& one : cases) {
    const auto text = one.at("text").get<std::string>();
    const auto expected = one.at("ids").get<std::vector<TokenId>>();
    BOOST_TEST_CONTEXT("text " << one.at("text").dump()) {
      const std::vector<TokenId> ids = tokenizer.encode(text);
      BOOST_TEST(ids == expected, boost::test_tools::per_element());
      if (round_trip == RoundTrip::exact) BOOST_TEST(tokenizer.decode(ids) == text);
    }
  }
}

std::unique_ptr<Tokenizer> gpt2(const std::filesystem::path& folder) {
  TokenizerFiles files;
  files.vocab_json = read_text_file(folder / "vocab.json");
  files.merges_txt = read_text_file(folder / "merges.txt");
  files.origin = "gpt2";
  return make_tokenizer(files);
}

BOOST_AUTO_TEST_SUITE(tokenizer_golden)

BOOST_AUTO_TEST_CASE(gpt2_ids_are_those_of_the_reference) {
  KRONLAB_NEEDS_DATA(folder, "tokenizer/gpt2");
  KRONLAB_NEEDS_DATA(golden, "golden/tokenizer/gpt2.json");
  const auto tokenizer = gpt2(folder);
  BOOST_TEST(tokenizer->vocab_size() == 50257);
  BOOST_TEST(tokenizer->eos().value() == 50256);
  check_cases(*tokenizer, json::parse(read_text_file(golden)).at("cases"), RoundTrip::exact);
}

BOOST_AUTO_TEST_CASE(gpt2_ids_of_a_whole_text_are_those_of_the_reference) {
  KRONLAB_NEEDS_DATA(folder, "tokenizer/gpt2");
  KRONLAB_NEEDS_DATA(golden, "golden/tokenizer/gpt2.json");
  KRONLAB_NEEDS_DATA(file, "text/wikitext-2/wiki.test.raw");
  const auto tokenizer = gpt2(folder);
  const std::string text = read_text_file(file);
  const json expected = json::parse(read_text_file(golden)).at("wikitext-2/wiki.test.raw");
  const std::vector<TokenId> ids = tokenizer->encode(text);
  BOOST_TEST_REQUIRE(ids.size() == expected.at("tokens").get<std::size_t>());
  BOOST_TEST(crc32_of(ids) == expected.at("crc32_of_little_endian_u32").get<std::uint32_t>());
  const auto first = expected.at("first").get<std::vector<TokenId>>();
  const auto last = expected.at("last").get<std::vector<TokenId>>();
  BOOST_TEST(std::equal(first.begin(), first.end(), ids.begin()));
  BOOST_TEST(std::equal(last.rbegin(), last.rend(), ids.rbegin()));
  BOOST_TEST((tokenizer->decode(ids) == text));
  BOOST_TEST((tokenizer->encode(text) == ids), "the second time words come from the cache");
}

BOOST_AUTO_TEST_CASE(sentencepiece_ids_are_those_of_the_reference) {
  KRONLAB_NEEDS_DATA(file, "models/stories260k/tokenizer.model");
  KRONLAB_NEEDS_DATA(golden, "golden/tokenizer/stories260k.json");
  TokenizerFiles files;
  files.tokenizer_model = read_text_file(file);
  const auto tokenizer = make_tokenizer(files);
  BOOST_TEST(tokenizer->vocab_size() == 512);
  BOOST_TEST(tokenizer->bos().value() == 1);
  BOOST_TEST(tokenizer->eos().value() == 2);
  check_cases(*tokenizer, json::parse(read_text_file(golden)).at("cases"), RoundTrip::not_promised);
  BOOST_TEST(tokenizer->decode(tokenizer->encode("Once upon a time")) == "Once upon a time");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace kronlab::model
