#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "framework/model/tokenizer.hpp"

namespace kronlab::model {

/// A piece that is cut out of a text before the model sees the rest, as tokenizer.json describes it.
struct AddedToken {
  TokenId id = 0;
  std::string content;
  bool single_word = false;  ///< not where a letter, a number or "_" is beside it
  bool lstrip = false;       ///< takes the white space before it
  bool rstrip = false;       ///< takes the white space behind it
  bool normalized = false;   ///< is looked for in the normalised text
};

/// Cuts text at added tokens: the leftmost first, of those that start there the longest.
class AddedTokenSplitter {
 public:
  AddedTokenSplitter() = default;
  explicit AddedTokenSplitter(std::vector<AddedToken> tokens);

  struct Segment {
    std::string_view text;
    std::size_t offset = 0;     ///< of `text` in the whole
    std::optional<TokenId> id;  ///< of the added token; none: text for the model, not empty
  };

  /// The segments of a text, in sequence. @pre `text` is valid UTF-8
  std::vector<Segment> split(std::string_view text) const;

 private:
  const AddedToken* longest_at(std::string_view text, std::size_t offset) const;

  std::array<std::vector<AddedToken>, 256> by_first_byte_;  // each: longest first
  bool is_empty_ = true;
};

}  // namespace kronlab::model
