#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "framework/base/types.hpp"

namespace kronlab::eval {

/// How perplexity is measured. Two protocols never share a column.
struct Protocol {
  /// Perplexity over all of a text, or of the last word of each passage (LAMBADA: Paperno et al., arXiv:1606.06031).
  enum class Kind { perplexity, last_word };
  enum class Join { none, rows };
  enum class Average { tokens, windows };
  enum class Tail { keep, drop };
  enum class Normaliser { token, word };

  Kind kind = Kind::perplexity;
  Index window = 1024;                      ///< tokens of one forward pass
  Index stride = 1024;                      ///< tokens from one window to the next; only new ones are scored
  Join join = Join::none;                   ///< text as it is, or its rows joined by blank lines
  Average average = Average::tokens;        ///< every predicted token weighs the same, or every window
  Tail tail = Tail::keep;                   ///< the last, shorter window
  Normaliser normaliser = Normaliser::token;  ///< per predicted token, or per word of the text

  /// "token-perplexity window=1024 stride=1024 join=none average=tokens tail=keep"; "last-word window=1024", where the mean is
  /// over passages: perplexity exp(mean of -log p(word)), accuracy the share of words that would have been written
  std::string name() const;
  /// @throws ConfigError if window or stride cannot be: stride 1 .. window, window 2 .. context
  void expect_valid(Index context) const;
};

/// The text that `join` makes of a file: for rows, a row is a line with its newline, a blank line is an empty row, and
/// rows are joined by "\n\n" (the form in which Hugging Face users meet WikiText).
std::string joined_text(std::string text, Protocol::Join join);

/// Words between white space.
Index count_words(std::string_view text);

/// One forward pass: tokens [begin, end) go in, the last `num_scored` predictions count.
struct Window {
  Index begin = 0;
  Index end = 0;
  Index num_scored = 0;
  Index length() const { return end - begin; }
};

/// The windows of a text of `num_tokens`; at most `max_windows` of them (0: all).
/// The first token of a window has no context and is never predicted.
std::vector<Window> windows_of(Index num_tokens, const Protocol& protocol, Index max_windows);

}  // namespace kronlab::eval
