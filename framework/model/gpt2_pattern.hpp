#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "framework/model/unicode_class.hpp"
#include "framework/model/utf8.hpp"

namespace kronlab::model {

/// Cuts text into words as the pattern of GPT-2 does:
///
///   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
///
/// Every byte of the text belongs to exactly one word. Radford et al., Language models are unsupervised multitask
/// learners, 2019.
class Gpt2Pattern {
 public:
  Gpt2Pattern() : unicode_(UnicodeClasses::instance()) {
    for (char32_t c = 0; c < ascii_.size(); ++c) ascii_[c] = unicode_[c];
  }

  /// The end of the word that starts at text[begin]. @pre `text` is valid UTF-8, begin < text.size()
  std::size_t word_end(std::string_view text, std::size_t begin) const {
    if (text[begin] == '\'') {
      const std::size_t length = contraction_length(text.substr(begin + 1, 2));
      if (length != 0) return begin + 1 + length;
    }
    const Character first = character_at(text, begin);
    if (first.char_class != CharClass::space) return run_end(text, begin + first.length, first.char_class);
    if (text[begin] == ' ' && begin + 1 < text.size()) {
      const Character second = character_at(text, begin + 1);
      if (second.char_class != CharClass::space) return run_end(text, begin + 1 + second.length, second.char_class);
    }
    return spaces_end(text, begin, first.length);
  }

 private:
  struct Character {
    CharClass char_class;
    std::size_t length;
  };

  Character character_at(std::string_view text, std::size_t at) const {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte < ascii_.size()) [[likely]] return {ascii_[byte], 1};
    const CodePoint c = code_point_at(text, at);
    return {unicode_[c.value], c.length};
  }

  /// How much of what follows an apostrophe belongs to it: s t re ve m ll d.
  static std::size_t contraction_length(std::string_view rest) {
    if (rest.empty()) return 0;
    if (rest[0] == 's' || rest[0] == 't' || rest[0] == 'm' || rest[0] == 'd') return 1;
    return rest == "re" || rest == "ve" || rest == "ll" ? 2 : 0;
  }

  std::size_t run_end(std::string_view text, std::size_t at, CharClass char_class) const {
    while (at < text.size()) {
      const Character c = character_at(text, at);
      if (c.char_class != char_class) break;
      at += c.length;
    }
    return at;
  }

  /// Spaces up to the last one before something else, which may belong to the next word; a single one is a word.
  std::size_t spaces_end(std::string_view text, std::size_t begin, std::size_t first_length) const {
    std::size_t last = begin;
    std::size_t at = begin + first_length;
    while (at < text.size()) {
      const Character c = character_at(text, at);
      if (c.char_class != CharClass::space) return last == begin ? at : last;
      last = at;
      at += c.length;
    }
    return at;
  }

  const UnicodeClasses& unicode_;
  std::array<CharClass, 128> ascii_{};
};

}  // namespace kronlab::model
