#pragma once

#include <array>
#include <string>
#include <vector>

#include "framework/model/bpe_spec.hpp"
#include "framework/model/pre_tokenizer.hpp"
#include "framework/model/word_cache.hpp"

namespace kronlab::model {

/// Byte-pair encoding over bytes: any text has ids, and decode(encode(text)) is the text, unless the file asks for a
/// space before it or lets added tokens take the spaces beside them.
///
/// Radford et al., Language models are unsupervised multitask learners, 2019.
class ByteLevelBpe final : public Tokenizer {
 public:
  /// A byte without a piece is an error of the text that has it. @throws DataError if a piece of a merge is missing, or the
  /// steps before do not fit
  explicit ByteLevelBpe(BpeSpec&& spec);

  Index vocab_size() const override { return vocabulary_.size(); }

 private:
  std::vector<TokenId> encode_valid(std::string_view text) const override;
  std::string decode_in_range(std::span<const TokenId> ids) const override;

  void append_word(std::string_view word, std::size_t readable, WordCache& cache, std::vector<TokenId>& symbols,
                   std::vector<TokenId>& ids) const;
  void merge_word(std::string_view word, std::vector<TokenId>& symbols) const;

  BpeMerges merges_;
  BytePreTokenizer pre_tokenizer_;
  AddedTokenSplitter added_tokens_;
  bool ignore_merges_ = false;
  std::array<TokenId, 256> byte_ids_{};
  Vocabulary vocabulary_;
  mutable WordCachePool caches_;
};

}  // namespace kronlab::model
