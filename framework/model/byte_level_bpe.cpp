#include "framework/model/byte_level_bpe.hpp"

#include "framework/model/byte_alphabet.hpp"

namespace kronlab::model {
namespace {

const ByteAlphabet& alphabet() {
  static const ByteAlphabet instance;
  return instance;
}

const BpeSpec& without_normalizer(const BpeSpec& spec) {
  if (spec.normalizer.empty()) return spec;
  throw DataError(fmt::format("{}: a normalizer before byte-level BPE is not supported", spec.origin));
}

BytePreTokenizer pre_tokenizer_of(const BpeSpec& spec) {
  try {
    return BytePreTokenizer(spec.pre_tokenizer);
  } catch (const DataError& error) {
    throw DataError(fmt::format("{}: {}", spec.origin, error.what()));
  }
}

constexpr TokenId no_piece = -1;

/// Vocabularies may lack bytes that their training text never had (SmolLM's lacks control characters).
std::array<TokenId, 256> byte_ids_of(const BpeSpec& spec) {
  std::array<TokenId, 256> ids{};
  for (unsigned byte = 0; byte < 256; ++byte) {
    ids[byte] = spec.vocabulary.find(alphabet().character(static_cast<unsigned char>(byte))).value_or(no_piece);
  }
  return ids;
}

}  // namespace

ByteLevelBpe::ByteLevelBpe(BpeSpec&& spec)
    : Tokenizer(spec.boundary, spec.origin),
      merges_(merges_of(without_normalizer(spec))),
      pre_tokenizer_(pre_tokenizer_of(spec)),
      added_tokens_(spec.added_tokens),
      ignore_merges_(spec.ignore_merges),
      byte_ids_(byte_ids_of(spec)),
      vocabulary_(std::move(spec.vocabulary)) {}

std::vector<TokenId> ByteLevelBpe::encode_valid(std::string_view text) const {
  std::vector<TokenId> ids;
  ids.reserve(text.size() / 3 + 8);
  std::vector<TokenId> symbols;
  WordCachePool::Loan cache(caches_);
  for (const AddedTokenSplitter::Segment& segment : added_tokens_.split(text)) {
    if (segment.id) {
      ids.push_back(*segment.id);
    } else {
      pre_tokenizer_.for_each_word(segment.text, [&](std::string_view word, std::size_t readable) {
        append_word(word, readable, *cache, symbols, ids);
      });
    }
  }
  return ids;
}

void ByteLevelBpe::append_word(std::string_view word, std::size_t readable, WordCache& cache,
                               std::vector<TokenId>& symbols, std::vector<TokenId>& ids) const {
  if (word.size() > WordCache::kMaxWordBytes) {
    merge_word(word, symbols);
  } else {
    const WordCache::Key key = WordCache::key_of(word, readable);
    if (cache.append(key, ids)) return;
    merge_word(word, symbols);
    cache.insert(key, symbols);
  }
  ids.insert(ids.end(), symbols.begin(), symbols.end());
}

void ByteLevelBpe::merge_word(std::string_view word, std::vector<TokenId>& symbols) const {
  symbols.clear();
  if (ignore_merges_) {
    std::string piece;
    for (const char byte : word) piece += alphabet().character(static_cast<unsigned char>(byte));
    if (const std::optional<TokenId> id = vocabulary_.find(piece)) {
      symbols.push_back(*id);
      return;
    }
  }
  for (const char c : word) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte_ids_[byte] == no_piece) {
      throw DataError(fmt::format("{}: the text has byte 0x{:02X} ('{}'), for which the vocabulary has no piece", origin(),
                                  byte, alphabet().character(byte)));
    }
    symbols.push_back(byte_ids_[byte]);
  }
  merges_.apply(symbols);
}

std::string ByteLevelBpe::decode_in_range(std::span<const TokenId> ids) const {
  std::string text;
  for (const TokenId id : ids) {
    const std::string* piece = vocabulary_.piece(id);
    if (piece == nullptr) throw DataError(fmt::format("{}: no piece has the id {}", origin(), id));
    text += alphabet().bytes_of(*piece).value_or(*piece);
  }
  return text;
}

}  // namespace kronlab::model
