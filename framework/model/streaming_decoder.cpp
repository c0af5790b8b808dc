#include "framework/model/streaming_decoder.hpp"

#include <string_view>
#include <utility>

namespace kronlab::model {
namespace {

/// Where a run of U+FFFD at the end begins: sentencepiece puts them for the bytes of a character that is not whole yet.
std::size_t end_of_certain(std::string_view text) {
  constexpr std::string_view replacement = "\xEF\xBF\xBD";
  while (text.ends_with(replacement)) text.remove_suffix(replacement.size());
  return text.size();
}

}  // namespace

StreamingDecoder::StreamingDecoder(const Tokenizer& tokenizer, std::span<const TokenId> before)
    : tokenizer_(tokenizer),
      window_(before.begin(), before.end()),
      text_(tokenizer.decode(before)),
      given_(text_.size()),
      first_fresh_(window_.size()) {}

std::string StreamingDecoder::add(TokenId id) {
  window_.push_back(id);
  text_ = tokenizer_.decode(window_);
  const std::string text = from_given(end_of_certain(text_));
  if (given_ != text_.size()) return text;
  // Tokenizers drop a space before the first word, so a window begins before an id that has a text.
  std::vector<TokenId> fresh(window_.begin() + static_cast<std::ptrdiff_t>(first_fresh_), window_.end());
  std::string fresh_text = tokenizer_.decode(fresh);
  if (!fresh_text.empty()) {
    window_ = std::move(fresh);
    text_ = std::move(fresh_text);
    given_ = text_.size();
    first_fresh_ = window_.size();
  }
  return text;
}

std::string StreamingDecoder::finish() { return from_given(text_.size()) + characters_.finish(); }

std::string StreamingDecoder::from_given(std::size_t end) {
  if (end <= given_) return {};
  const std::string text = characters_.add(std::string_view(text_).substr(given_, end - given_));
  given_ = end;
  return text;
}

}  // namespace kronlab::model
