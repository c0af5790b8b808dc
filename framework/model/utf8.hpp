#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace kronlab::model {

/// The offset of the first byte that does not belong to valid UTF-8; none if all of `text` is valid. Overlong forms,
/// surrogates and values above U+10FFFF are invalid.
std::optional<std::size_t> invalid_utf8_offset(std::string_view text);

struct CodePoint {
  char32_t value = 0;
  std::size_t length = 0;  ///< in bytes
};

/// The code point that starts at text[offset]. @pre `text` is valid UTF-8 and `offset` is the start of a character
inline CodePoint code_point_at(std::string_view text, std::size_t offset) {
  const auto byte = [&](std::size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(text[offset + i])); };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {(lead & 0x1F) << 6 | (byte(1) & 0x3F), 2};
  if (lead < 0xF0) return {(lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F), 3};
  return {(lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F), 4};
}

/// The start of the character that ends at text[offset - 1]. @pre `text` is valid UTF-8 and 0 < offset <= size
inline std::size_t previous_character(std::string_view text, std::size_t offset) {
  do {
    --offset;
  } while ((static_cast<unsigned char>(text[offset]) & 0xC0) == 0x80);
  return offset;
}

void append_utf8(std::string& text, char32_t code_point);

/// Bytes that arrive in pieces, as whole characters: the beginning of a character waits for its other bytes, and bytes
/// that are part of no character become U+FFFD, one for each longest beginning of one (Unicode 15, section 3.9).
class CharacterStream {
 public:
  /// The characters that are whole now.
  std::string add(std::string_view bytes);
  /// What waited, which stays incomplete.
  std::string finish();

 private:
  std::string waiting_;
};

}  // namespace kronlab::model
