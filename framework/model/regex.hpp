#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace kronlab::model {

/// A regular expression over UTF-8 as tokenizer files write them (Unicode classes), run by PCRE2.
class Regex {
 public:
  struct Match {
    std::size_t begin = 0;  ///< byte offset
    std::size_t end = 0;    ///< byte offset, > begin
  };

  /// @throws DataError if the pattern is malformed, with PCRE2's text and the offset in the pattern
  explicit Regex(const std::string& pattern);
  ~Regex();
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;

  /// All matches that are not empty, in sequence, none overlapping. @pre `text` is valid UTF-8
  /// @throws DataError if PCRE2 gives up because the pattern backtracks too much on this text
  std::vector<Match> matches(std::string_view text) const;

 private:
  struct Code;
  std::unique_ptr<Code> code_;
  std::string pattern_;
};

}  // namespace kronlab::model
