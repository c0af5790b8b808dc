#pragma once

#include <functional>
#include <span>
#include <string_view>

#include "framework/model/tokenizer.hpp"

namespace kronlab::model {

/// Receives the ids of one piece; `end` bytes of the text are done.
using TakeIds = std::function<void(std::span<const TokenId> ids, std::size_t end)>;

/// The ids of a text of any length, with memory for one piece: the ids given to `take`, one piece after another, are
/// `tokenizer.encode(text)`.
///
/// Pieces of at most `piece_size` bytes end behind a newline, else before a space, where the ids of the text before are
/// the same with and without the text behind; a piece is encoded together with some text before it, whose ids are
/// dropped, so that what a tokenizer puts before a text comes once. The comparison sees 256 bytes behind the cut and
/// about as many before it: a tokenizer whose ids depend on text farther away, beyond a newline or a space, may cut
/// otherwise there. A text without any such place for longer than `piece_size` is encoded in larger pieces.
/// @throws DataError on invalid UTF-8, with the offset of the first wrong byte in the whole text, and as `encode`
void encode_in_pieces(const Tokenizer& tokenizer, std::string_view text, std::size_t piece_size, const TakeIds& take);

}  // namespace kronlab::model
