#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace kronlab::model {

/// The classes that GPT-2's pattern tells apart: \p{L}, \p{N}, \s (Unicode's White_Space) and all others.
enum class CharClass : std::uint8_t { letter, number, space, other };

/// The class of every code point, from PCRE2's Unicode tables. Built once, at the first use.
class UnicodeClasses {
 public:
  static const UnicodeClasses& instance();

  CharClass operator[](char32_t code_point) const {
    return code_point < kTabulated ? classes_[code_point] : CharClass::other;
  }

 private:
  /// Planes 0 to 3: no letter, number or space is assigned above.
  static constexpr char32_t kTabulated = 0x40000;

  UnicodeClasses();
  void classify_letters_and_numbers();

  std::vector<CharClass> classes_;
};

}  // namespace kronlab::model
