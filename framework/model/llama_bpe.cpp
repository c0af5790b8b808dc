#include "framework/model/llama_bpe.hpp"

#include <algorithm>

#include "framework/model/utf8.hpp"

namespace kronlab::model {
namespace {

std::string replace_all(std::string_view text, std::string_view pattern, std::string_view content) {
  std::string result;
  std::size_t done = 0;
  for (std::size_t at = text.find(pattern); at != std::string_view::npos; at = text.find(pattern, done)) {
    result.append(text.substr(done, at - done)).append(content);
    done = at + pattern.size();
  }
  return result.append(text.substr(done));
}

std::optional<MetaspaceSplit> metaspace_of(const BpeSpec& spec) {
  if (spec.pre_tokenizer.empty()) return std::nullopt;
  const auto* metaspace = std::get_if<MetaspaceSplit>(&spec.pre_tokenizer[0]);
  if (metaspace == nullptr || spec.pre_tokenizer.size() > 1) {
    throw DataError(fmt::format("{}: BPE that is not byte-level is supported with no pre_tokenizer or with Metaspace "
                                "alone; found another one",
                                spec.origin));
  }
  return *metaspace;
}

std::string space_symbol(const BpeSpec& spec) {
  if (const auto metaspace = metaspace_of(spec)) return metaspace->replacement;
  for (const NormalizerStep& step : spec.normalizer) {
    const auto* replace = std::get_if<Replace>(&step);
    if (replace != nullptr && replace->pattern == " " && !replace->content.empty()) return replace->content;
  }
  throw DataError(fmt::format("{}: BPE is supported with a pre_tokenizer ByteLevel or Metaspace, or a normalizer that "
                              "replaces the space; found none of them",
                              spec.origin));
}

std::array<std::optional<TokenId>, 256> byte_ids_of(const BpeSpec& spec) {
  std::array<std::optional<TokenId>, 256> ids;
  if (!spec.byte_fallback) return ids;
  for (unsigned byte = 0; byte < 256; ++byte) ids[byte] = spec.vocabulary.find(fmt::format("<0x{:02X}>", byte));
  return ids;
}

std::optional<TokenId> unk_of(const BpeSpec& spec) {
  if (spec.unk_token.empty()) return std::nullopt;
  const std::optional<TokenId> id = spec.vocabulary.find(spec.unk_token);
  if (id) return id;
  throw DataError(fmt::format("{}: the unknown token '{}' is not in the vocabulary", spec.origin, spec.unk_token));
}

std::vector<AddedToken> raw_added_tokens(const BpeSpec& spec) {
  std::vector<AddedToken> tokens;
  std::copy_if(spec.added_tokens.begin(), spec.added_tokens.end(), std::back_inserter(tokens),
               [](const AddedToken& token) { return !token.normalized; });
  return tokens;
}

}  // namespace

struct LlamaBpe::Scratch {
  WordCache& cache;
  std::vector<TokenId> ids;
  std::vector<TokenId> symbols;
};

LlamaBpe::LlamaBpe(BpeSpec&& spec)
    : Tokenizer(spec.boundary, spec.origin),
      merges_(merges_of(spec)),
      normalizer_(spec.normalizer),
      metaspace_(metaspace_of(spec)),
      raw_added_tokens_(raw_added_tokens(spec)),
      normalized_added_tokens_(normalized_added_tokens(spec)),
      space_(space_symbol(spec)),
      unk_(unk_of(spec)),
      fuse_unk_(spec.fuse_unk),
      ignore_merges_(spec.ignore_merges),
      strips_leading_space_(spec.strips_leading_space),
      byte_ids_(byte_ids_of(spec)),
      vocabulary_(std::move(spec.vocabulary)) {
  const auto missing = std::find(byte_ids_.begin(), byte_ids_.end(), std::nullopt);
  if (!unk_ && missing != byte_ids_.end()) {
    throw DataError(fmt::format("{}: there is no unknown token, so every byte needs a piece; that of byte 0x{:02X} is "
                                "not in the vocabulary or model.byte_fallback is false",
                                spec.origin, missing - byte_ids_.begin()));
  }
  if (metaspace_ && metaspace_->split) {
    word_start_ = WordStart::at_every_space;
  } else if (has_independent_words(spec)) {
    word_start_ = WordStart::at_first_space;
  }
  decoded_.resize(static_cast<std::size_t>(vocabulary_.size()));
  for (TokenId id = 0; id < vocabulary_.size(); ++id) {
    if (const std::string* piece = vocabulary_.piece(id)) {
      decoded_[static_cast<std::size_t>(id)] = replace_all(*piece, space_, " ");
    }
  }
  for (std::size_t byte = 0; byte < byte_ids_.size(); ++byte) {
    if (byte_ids_[byte]) decoded_[static_cast<std::size_t>(*byte_ids_[byte])] = std::string(1, static_cast<char>(byte));
  }
}

/// Added tokens that are looked for in the normalised text, themselves normalised.
std::vector<AddedToken> LlamaBpe::normalized_added_tokens(const BpeSpec& spec) const {
  std::vector<AddedToken> tokens;
  for (AddedToken token : spec.added_tokens) {
    if (!token.normalized) continue;
    token.content = normalize(token.content);
    tokens.push_back(std::move(token));
  }
  return tokens;
}

/// Whether no merge makes a piece with a space behind anything but spaces: then the text may be cut before the first
/// space of a run, and the ids of its words are the ids of the text.
bool LlamaBpe::has_independent_words(const BpeSpec& spec) const {
  if (ignore_merges_ || !vocabulary_.find(space_) || code_point_at(space_, 0).length != space_.size()) return false;
  return std::none_of(spec.merges.begin(), spec.merges.end(), [&](const auto& merge) {
    const std::string piece = merge.first + merge.second;
    std::size_t begin = 0;
    while (piece.compare(begin, space_.size(), space_) == 0) begin += space_.size();
    return piece.find(space_, begin) != std::string::npos;
  });
}

std::string LlamaBpe::normalize(std::string_view text) const {
  std::string result(text);
  for (const NormalizerStep& step : normalizer_) {
    if (const auto* prepend = std::get_if<Prepend>(&step)) {
      if (!result.empty()) result.insert(0, prepend->content);
    } else {
      const auto& replace = std::get<Replace>(step);
      result = replace_all(result, replace.pattern, replace.content);
    }
  }
  return result;
}

std::vector<TokenId> LlamaBpe::encode_valid(std::string_view text) const {
  WordCachePool::Loan cache(caches_);
  Scratch scratch{*cache, {}, {}};
  for (const AddedTokenSplitter::Segment& segment : raw_added_tokens_.split(text)) {
    if (segment.id) {
      scratch.ids.push_back(*segment.id);
      continue;
    }
    const std::string normalized = normalize(segment.text);
    for (const AddedTokenSplitter::Segment& part : normalized_added_tokens_.split(normalized)) {
      if (part.id) {
        scratch.ids.push_back(*part.id);
      } else {
        encode_piece(part.text, segment.offset == 0 && part.offset == 0, scratch);
      }
    }
  }
  return std::move(scratch.ids);
}

void LlamaBpe::encode_piece(std::string_view text, bool starts_text, Scratch& scratch) const {
  if (!metaspace_) {
    encode_words(text, scratch);
    return;
  }
  std::string with_spaces = replace_all(text, " ", space_);
  const bool may_prepend = metaspace_->prepend_scheme == MetaspaceSplit::PrependScheme::always ||
                           (metaspace_->prepend_scheme == MetaspaceSplit::PrependScheme::first && starts_text);
  if (may_prepend && !with_spaces.starts_with(space_)) with_spaces.insert(0, space_);
  encode_words(with_spaces, scratch);
}

void LlamaBpe::encode_words(std::string_view text, Scratch& scratch) const {
  std::size_t begin = 0;
  bool was_space = false;
  for (std::size_t at = word_start_ == WordStart::nowhere ? text.size() : 0; at < text.size();) {
    const bool is_space = text.substr(at, space_.size()) == space_;
    if (is_space && at > begin && (!was_space || word_start_ == WordStart::at_every_space)) {
      append_word(text.substr(begin, at - begin), text.size() - begin, scratch);
      begin = at;
    }
    was_space = is_space;
    at += is_space ? space_.size() : code_point_at(text, at).length;
  }
  append_word(text.substr(begin), text.size() - begin, scratch);
}

void LlamaBpe::append_word(std::string_view word, std::size_t readable, Scratch& scratch) const {
  if (word.empty()) return;
  if (word.size() > WordCache::kMaxWordBytes) {
    merge_word(word, scratch.symbols);
  } else {
    const WordCache::Key key = WordCache::key_of(word, readable);
    if (scratch.cache.append(key, scratch.ids)) return;
    merge_word(word, scratch.symbols);
    scratch.cache.insert(key, scratch.symbols);
  }
  scratch.ids.insert(scratch.ids.end(), scratch.symbols.begin(), scratch.symbols.end());
}

void LlamaBpe::merge_word(std::string_view word, std::vector<TokenId>& symbols) const {
  symbols.clear();
  if (ignore_merges_) {
    if (const std::optional<TokenId> id = vocabulary_.find(word)) {
      symbols.push_back(*id);
      return;
    }
  }
  bool was_unknown = false;
  for (std::size_t at = 0; at < word.size();) {
    const std::string_view character = word.substr(at, code_point_at(word, at).length);
    at += character.size();
    const std::optional<TokenId> id = vocabulary_.find(character);
    if (id) {
      symbols.push_back(*id);
    } else if (!append_bytes(character, symbols)) {
      if (!(was_unknown && fuse_unk_)) symbols.push_back(*unk_);
      was_unknown = true;
      continue;
    }
    was_unknown = false;
  }
  merges_.apply(symbols);
}

/// The pieces of a character's bytes, if there is one for each.
bool LlamaBpe::append_bytes(std::string_view character, std::vector<TokenId>& symbols) const {
  const auto id_of = [&](char byte) { return byte_ids_[static_cast<unsigned char>(byte)]; };
  if (!std::all_of(character.begin(), character.end(), [&](char byte) { return id_of(byte).has_value(); })) return false;
  for (const char byte : character) symbols.push_back(*id_of(byte));
  return true;
}

std::string LlamaBpe::decode_in_range(std::span<const TokenId> ids) const {
  std::string text;
  for (const TokenId id : ids) {
    if (vocabulary_.piece(id) == nullptr) throw DataError(fmt::format("{}: no piece has the id {}", origin(), id));
    text += decoded_[static_cast<std::size_t>(id)];
  }
  if (strips_leading_space_ && text.starts_with(' ')) text.erase(0, 1);
  return text;
}

}  // namespace kronlab::model
