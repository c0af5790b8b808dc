#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "framework/base/types.hpp"

namespace kronlab::model {

using TokenId = std::int32_t;

/// Content of a model folder's tokenizer files; an empty string stands for a file that is not there.
struct TokenizerFiles {
  std::string tokenizer_json;
  std::string vocab_json;
  std::string merges_txt;
  std::string tokenizer_model;  ///< bytes of a sentencepiece model
  std::string tokenizer_config_json;
  std::string origin;  ///< where the files come from, for messages

  /// origin/name, for messages.
  std::string path_of(std::string_view name) const;
};

/// Tokens that stand before and behind a text; none where the tokenizer has no such token.
struct BoundaryTokens {
  std::optional<TokenId> bos;
  std::optional<TokenId> eos;
};

/// Text to token ids and back. All functions may be called from several threads at once.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  /// The ids of a text; no token is added before or behind it. Added tokens such as `<|endoftext|>` that are part of
  /// the text become their ids where the tokenizer's file lists them as added.
  /// @throws DataError on invalid UTF-8, with the offset of the first wrong byte
  std::vector<TokenId> encode(std::string_view text) const;

  /// The bytes of a sequence of ids, added tokens included. They are valid UTF-8 where the ids end between characters.
  /// @throws DataError on an id that is not in the vocabulary
  std::string decode(std::span<const TokenId> ids) const;

  /// One more than the largest id.
  virtual Index vocab_size() const = 0;

  std::optional<TokenId> bos() const { return boundary_.bos; }
  std::optional<TokenId> eos() const { return boundary_.eos; }

 protected:
  Tokenizer(BoundaryTokens boundary, std::string origin) : boundary_(boundary), origin_(std::move(origin)) {}
  const std::string& origin() const { return origin_; }

 private:
  /// `text` is valid UTF-8.
  virtual std::vector<TokenId> encode_valid(std::string_view text) const = 0;
  /// Every id is in 0 .. vocab_size()-1.
  virtual std::string decode_in_range(std::span<const TokenId> ids) const = 0;

  BoundaryTokens boundary_;
  std::string origin_;
};

/// The tokenizer of a model folder: from `tokenizer.json` if it is there, else from `vocab.json` and `merges.txt`
/// (byte-level BPE with GPT-2's pattern, no added tokens), else from a sentencepiece model.
///
/// Kinds of `tokenizer.json`: byte-level BPE, and BPE over "▁" (LLaMA). The tokens before and behind a text are those
/// that `tokenizer_config.json` names, else the customary ones (`<s>`, `</s>`, `<|endoftext|>`, ...) that are there.
/// @throws DataError on malformed files, a missing piece, an id used twice or out of range, or another kind, by name
std::unique_ptr<Tokenizer> make_tokenizer(const TokenizerFiles& files);

}  // namespace kronlab::model
