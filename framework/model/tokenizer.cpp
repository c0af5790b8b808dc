#include "framework/model/tokenizer.hpp"

#include "framework/base/error.hpp"
#include "framework/model/byte_level_bpe.hpp"
#include "framework/model/llama_bpe.hpp"
#include "framework/model/sentencepiece_tokenizer.hpp"
#include "framework/model/tokenizer_json.hpp"
#include "framework/model/utf8.hpp"

namespace kronlab::model {
namespace {

std::unique_ptr<Tokenizer> make_bpe(BpeSpec&& spec) {
  if (is_byte_level(spec)) return std::make_unique<ByteLevelBpe>(std::move(spec));
  return std::make_unique<LlamaBpe>(std::move(spec));
}

}  // namespace

std::string TokenizerFiles::path_of(std::string_view name) const {
  return origin.empty() ? std::string(name) : fmt::format("{}/{}", origin, name);
}

std::vector<TokenId> Tokenizer::encode(std::string_view text) const {
  if (const auto offset = invalid_utf8_offset(text)) {
    throw DataError(fmt::format("{}: the text is not valid UTF-8 at byte {} (0x{:02X})", origin_, *offset,
                                static_cast<unsigned char>(text[*offset])));
  }
  return encode_valid(text);
}

std::string Tokenizer::decode(std::span<const TokenId> ids) const {
  for (const TokenId id : ids) {
    if (id < 0 || id >= vocab_size()) {
      throw DataError(fmt::format("{}: id {} is out of range: the vocabulary has {} ids", origin_, id, vocab_size()));
    }
  }
  return decode_in_range(ids);
}

std::unique_ptr<Tokenizer> make_tokenizer(const TokenizerFiles& files) {
  if (!files.tokenizer_json.empty()) return make_bpe(read_tokenizer_json(files));
  if (!files.vocab_json.empty() || !files.merges_txt.empty()) {
    if (files.merges_txt.empty()) throw DataError(fmt::format("{}: vocab.json is there, merges.txt is not", files.origin));
    if (files.vocab_json.empty()) throw DataError(fmt::format("{}: merges.txt is there, vocab.json is not", files.origin));
    return make_bpe(read_vocab_and_merges(files));
  }
  if (!files.tokenizer_model.empty()) return make_sentencepiece_tokenizer(files);
  throw DataError(fmt::format("{}: no tokenizer: expected tokenizer.json, vocab.json with merges.txt, or tokenizer.model",
                              files.origin));
}

}  // namespace kronlab::model
