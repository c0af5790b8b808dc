#include "framework/model/regex.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <optional>
#include <utility>

#include "framework/base/error.hpp"

namespace kronlab::model {
namespace {

std::string error_text(int error) {
  std::array<PCRE2_UCHAR, 256> buffer{};
  pcre2_get_error_message(error, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

/// PCRE2's \s has U+180E, which is no White_Space since Unicode 6.3 and not part of \s where these patterns come from.
constexpr std::string_view kSpaces =
    R"(\x09-\x0D\x20\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";

/// `pattern` with \s, and \S outside of brackets, written out.
std::string with_unicode_spaces(std::string_view pattern) {
  std::string result;
  bool in_brackets = false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const std::string_view escape = pattern[i] == '\\' ? pattern.substr(i, 2) : std::string_view();
    if (escape == "\\s") {
      result += in_brackets ? std::string(kSpaces) : "[" + std::string(kSpaces) + "]";
    } else if (escape == "\\S" && !in_brackets) {
      result += "[^" + std::string(kSpaces) + "]";
    } else if (!escape.empty()) {
      result += escape;
    } else {
      if (pattern[i] == '[') in_brackets = true;
      if (pattern[i] == ']') in_brackets = false;
      result += pattern[i];
      continue;
    }
    i += escape.size() - 1;
  }
  return result;
}

struct MatchDataDeleter {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};

}  // namespace

struct Regex::Code {
  explicit Code(pcre2_code* compiled) : pointer(compiled) {}
  ~Code() { pcre2_code_free(pointer); }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;
  pcre2_code* pointer;
};

Regex::Regex(const std::string& pattern) : pattern_(pattern) {
  const std::string translated = with_unicode_spaces(pattern);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* compiled = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                       PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
  if (compiled == nullptr) {
    throw DataError(fmt::format("pattern '{}': {}", pattern, error_text(error)));
  }
  code_ = std::make_unique<Code>(compiled);
}

Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

std::vector<Regex::Match> Regex::matches(std::string_view text) const {
  const std::unique_ptr<pcre2_match_data, MatchDataDeleter> data(pcre2_match_data_create(1, nullptr));
  std::vector<Match> found;
  std::size_t at = 0;
  while (at < text.size()) {
    const int count = pcre2_match(code_->pointer, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
                                  PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, data.get(), nullptr);
    if (count == PCRE2_ERROR_NOMATCH) break;
    if (count < 0) {
      throw DataError(fmt::format("pattern '{}' failed at byte {} of the text: {}", pattern_, at, error_text(count)));
    }
    const PCRE2_SIZE* span = pcre2_get_ovector_pointer(data.get());
    // A \K inside a lookahead can move the start behind the end.
    if (span[1] <= span[0] || span[0] < at) {
      throw DataError(fmt::format("pattern '{}' matches backwards at byte {} of the text", pattern_, at));
    }
    found.push_back({span[0], span[1]});
    at = span[1];
  }
  return found;
}

}  // namespace kronlab::model
