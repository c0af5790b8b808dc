#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace kronlab::model {

/// The printable characters by which GPT-2's vocabulary writes the 256 bytes: a printable byte of Latin-1 stands for
/// itself, the n-th of the others is U+0100 + n.
class ByteAlphabet {
 public:
  ByteAlphabet();

  /// The UTF-8 of the character of a byte.
  const std::string& character(unsigned char byte) const { return characters_[byte]; }
  /// The bytes that a piece stands for; none if it has a character that is not in the alphabet.
  std::optional<std::string> bytes_of(std::string_view piece) const;

 private:
  static constexpr std::size_t kLimit = 0x100 + 68;  // one above the largest character

  std::array<std::string, 256> characters_;
  std::array<int, kLimit> bytes_;  // -1: not in the alphabet
};

}  // namespace kronlab::model
