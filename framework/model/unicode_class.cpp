#include "framework/model/unicode_class.hpp"

#include <algorithm>
#include <string>

#include "framework/model/regex.hpp"
#include "framework/model/utf8.hpp"

namespace kronlab::model {
namespace {

constexpr std::array<char32_t, 25> kWhiteSpace = {
    0x09,   0x0A,   0x0B,   0x0C,   0x0D,   0x20,   0x85,   0xA0,   0x1680, 0x2000, 0x2001, 0x2002, 0x2003,
    0x2004, 0x2005, 0x2006, 0x2007, 0x2008, 0x2009, 0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000};

/// Within a block that starts at a multiple of its size all code points have the same length in UTF-8.
constexpr char32_t kBlock = 128;

}  // namespace

const UnicodeClasses& UnicodeClasses::instance() {
  static const UnicodeClasses classes;
  return classes;
}

UnicodeClasses::UnicodeClasses() : classes_(kTabulated, CharClass::other) {
  classify_letters_and_numbers();
  for (const char32_t c : kWhiteSpace) classes_[c] = CharClass::space;
}

void UnicodeClasses::classify_letters_and_numbers() {
  const Regex letters("\\p{L}+");
  const Regex numbers("\\p{N}+");
  for (char32_t first = 0; first < kTabulated; first += kBlock) {
    if (first >= 0xD800 && first < 0xE000) continue;
    std::string block;
    for (char32_t c = first; c < first + kBlock; ++c) append_utf8(block, c);
    const std::size_t length = block.size() / kBlock;
    const auto mark = [&](const Regex& regex, CharClass char_class) {
      for (const Regex::Match& match : regex.matches(block)) {
        std::fill(classes_.begin() + static_cast<std::ptrdiff_t>(first + match.begin / length),
                  classes_.begin() + static_cast<std::ptrdiff_t>(first + match.end / length), char_class);
      }
    };
    mark(letters, CharClass::letter);
    mark(numbers, CharClass::number);
  }
}

}  // namespace kronlab::model
