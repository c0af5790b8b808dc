#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "framework/model/bpe_spec.hpp"

namespace kronlab::model {

/// Reads a tokenizer.json. Only what changes ids or decoded text is read: no post-processor, truncation or padding.
/// @throws DataError on malformed content, a missing piece, or a part that is not supported, by name
BpeSpec read_tokenizer_json(const TokenizerFiles& files);

/// Reads vocab.json and merges.txt: byte-level BPE with GPT-2's pattern. @throws DataError on malformed content
BpeSpec read_vocab_and_merges(const TokenizerFiles& files);

/// Whether the pre-tokenizer works on bytes.
bool is_byte_level(const BpeSpec& spec);

/// The tokens before and behind a text that tokenizer_config.json names, else the customary ones, by way of `find`.
/// @throws DataError on malformed JSON
BoundaryTokens read_boundary_tokens(const TokenizerFiles& files,
                                    const std::function<std::optional<TokenId>(std::string_view)>& find);

}  // namespace kronlab::model
