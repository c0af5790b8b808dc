#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "framework/model/bpe_spec.hpp"
#include "framework/model/gpt2_pattern.hpp"
#include "framework/model/regex.hpp"

namespace kronlab::model {

/// Cuts a text into the words within which byte-level BPE merges.
class BytePreTokenizer {
 public:
  /// @throws DataError for a step that does not belong to a byte-level tokenizer, or a malformed pattern
  explicit BytePreTokenizer(const std::vector<PreTokenizerStep>& steps);

  /// Calls on_word(word, readable) for every word in sequence; `readable` bytes may be read from the word's first on.
  /// @pre `text` is valid UTF-8 @throws DataError if a pattern of the tokenizer backtracks too much
  template <class OnWord>
  void for_each_word(std::string_view text, OnWord&& on_word) const {
    run_from(0, text, text.size(), on_word);
  }

 private:
  struct RegexCut {
    Regex regex;
    RegexSplit::Keep keep;
  };
  using Step = std::variant<DigitsSplit, RegexCut, ByteLevelSplit>;

  /// `readable`: bytes from the first of `piece` to the end of its buffer.
  template <class OnWord>
  void run_from(std::size_t step, std::string_view piece, std::size_t readable, OnWord& on_word) const {
    if (piece.empty()) return;
    if (step == steps_.size()) {
      on_word(piece, readable);
      return;
    }
    const auto next = [&](std::size_t begin, std::size_t end) {
      run_from(step + 1, piece.substr(begin, end - begin), readable - begin, on_word);
    };
    if (const auto* digits = std::get_if<DigitsSplit>(&steps_[step])) {
      cut_digits(piece, *digits, next);
    } else if (const auto* cut = std::get_if<RegexCut>(&steps_[step])) {
      cut_by_regex(piece, *cut, next);
    } else {
      cut_bytes(step, piece, readable, on_word);
    }
  }

  template <class Next>
  void cut_digits(std::string_view piece, const DigitsSplit& digits, const Next& next) const {
    std::size_t begin = 0;
    bool was_number = false;
    for (std::size_t at = 0; at < piece.size();) {
      const CodePoint c = code_point_at(piece, at);
      const bool is_number = classes_[c.value] == CharClass::number;
      if (at > begin && (is_number != was_number || (is_number && digits.individual_digits))) {
        next(begin, at);
        begin = at;
      }
      was_number = is_number;
      at += c.length;
    }
    next(begin, piece.size());
  }

  template <class Next>
  static void cut_by_regex(std::string_view piece, const RegexCut& cut, const Next& next) {
    std::size_t done = 0;
    for (const Regex::Match& match : cut.regex.matches(piece)) {
      if (cut.keep == RegexSplit::Keep::everything) next(done, match.begin);
      next(match.begin, match.end);
      done = match.end;
    }
    if (cut.keep == RegexSplit::Keep::everything) next(done, piece.size());
  }

  template <class OnWord>
  void cut_bytes(std::size_t step, std::string_view piece, std::size_t readable, OnWord& on_word) const {
    const auto& options = std::get<ByteLevelSplit>(steps_[step]);
    std::string with_space;
    if (options.add_prefix_space && piece[0] != ' ') {
      with_space.append(1, ' ').append(piece);
      piece = with_space;
      readable = piece.size();
    }
    for (std::size_t at = 0; at < piece.size();) {
      const std::size_t end = options.use_regex ? pattern_.word_end(piece, at) : piece.size();
      run_from(step + 1, piece.substr(at, end - at), readable - at, on_word);
      at = end;
    }
  }

  std::vector<Step> steps_;
  Gpt2Pattern pattern_;
  const UnicodeClasses& classes_;
};

}  // namespace kronlab::model
