#pragma once

#include <span>
#include <string>
#include <vector>

#include "framework/model/tokenizer.hpp"
#include "framework/model/utf8.hpp"

namespace kronlab::model {

/// The text of ids that arrive one by one, in whole characters. All that is given out, put together, is what the
/// tokenizer decodes from all ids at once behind the text that they continue; bytes that are no UTF-8 become U+FFFD.
class StreamingDecoder {
 public:
  /// before: the ids of the text that is continued, none at the beginning of one. `tokenizer` must outlive this.
  /// @throws DataError as Tokenizer::decode
  StreamingDecoder(const Tokenizer& tokenizer, std::span<const TokenId> before);

  /// The text that `id` completes; empty within a character. @throws DataError as Tokenizer::decode
  std::string add(TokenId id);
  /// What waited for more bytes.
  std::string finish();

 private:
  std::string from_given(std::size_t end);

  const Tokenizer& tokenizer_;
  std::vector<TokenId> window_;  ///< ids from a place on behind which the text is all their own
  std::string text_;             ///< of the window
  std::size_t given_ = 0;        ///< bytes of it that are given out
  std::size_t first_fresh_ = 0;  ///< where in the window the ids begin that may be the next window
  CharacterStream characters_;
};

}  // namespace kronlab::model
