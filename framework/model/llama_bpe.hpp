#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "framework/model/bpe_spec.hpp"
#include "framework/model/word_cache.hpp"

namespace kronlab::model {

/// Byte-pair encoding over characters, with a visible character ("▁") for the space: the tokenizer.json of LLaMA.
/// A character that is no piece becomes its bytes (`<0x0A>`) or the unknown token. What was put before the text when it
/// was encoded is taken away when it is decoded: one leading space.
///
/// Kudo and Richardson, SentencePiece, 2018.
class LlamaBpe final : public Tokenizer {
 public:
  /// @throws DataError if a piece of a merge is missing, if there is neither an unknown token nor a piece for each byte,
  /// or the steps before do not fit
  explicit LlamaBpe(BpeSpec&& spec);

  Index vocab_size() const override { return vocabulary_.size(); }

 private:
  struct Scratch;
  /// Where a text may be cut into words without changing its ids.
  enum class WordStart { nowhere, at_first_space, at_every_space };

  std::vector<TokenId> encode_valid(std::string_view text) const override;
  std::string decode_in_range(std::span<const TokenId> ids) const override;

  std::string normalize(std::string_view text) const;
  std::vector<AddedToken> normalized_added_tokens(const BpeSpec& spec) const;
  void encode_piece(std::string_view text, bool starts_text, Scratch& scratch) const;
  void encode_words(std::string_view text, Scratch& scratch) const;
  void append_word(std::string_view word, std::size_t readable, Scratch& scratch) const;
  void merge_word(std::string_view word, std::vector<TokenId>& symbols) const;
  bool append_bytes(std::string_view character, std::vector<TokenId>& symbols) const;
  bool has_independent_words(const BpeSpec& spec) const;

  BpeMerges merges_;
  std::vector<NormalizerStep> normalizer_;
  std::optional<MetaspaceSplit> metaspace_;
  AddedTokenSplitter raw_added_tokens_;
  AddedTokenSplitter normalized_added_tokens_;
  std::string space_;  ///< what stands for " "
  std::optional<TokenId> unk_;
  bool fuse_unk_ = false;
  bool ignore_merges_ = false;
  bool strips_leading_space_ = false;
  std::array<std::optional<TokenId>, 256> byte_ids_;  ///< without byte fallback all empty
  std::vector<std::string> decoded_;                  ///< by id; empty where no piece has it
  WordStart word_start_ = WordStart::nowhere;
  Vocabulary vocabulary_;
  mutable WordCachePool caches_;
};

}  // namespace kronlab::model
