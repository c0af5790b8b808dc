#pragma once

#include <memory>

#include "framework/model/tokenizer.hpp"

namespace kronlab::model {

/// A `tokenizer.model`, run by the sentencepiece library. Control pieces (`<s>`) in a text are ordinary characters, and
/// decode to nothing.
///
/// Kudo and Richardson, SentencePiece, 2018.
/// @throws DataError if the bytes are no sentencepiece model or tokenizer_config.json is malformed
std::unique_ptr<Tokenizer> make_sentencepiece_tokenizer(const TokenizerFiles& files);

}  // namespace kronlab::model
