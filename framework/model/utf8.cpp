#include "framework/model/utf8.hpp"

#include <cstdint>
#include <cstring>

namespace kronlab::model {
namespace {

constexpr char32_t replacement_character = 0xFFFD;

/// What stands at a place of a text: a character, or the longest beginning of one.
struct Part {
  enum class Kind { whole, cut_off, invalid } kind;  ///< cut_off: by the end of the text
  std::size_t length;
};

/// Table 3-7 of the Unicode standard: the second byte shuts out overlong forms, surrogates and values above U+10FFFF.
Part part_at(std::string_view text, std::size_t offset) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[offset + i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {Part::Kind::whole, 1};
  const std::size_t length = lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
  if (length == 0) return {Part::Kind::invalid, 1};
  for (std::size_t i = 1; i < length; ++i) {
    if (offset + i == text.size()) return {Part::Kind::cut_off, i};
    const unsigned lowest = i > 1 ? 0x80 : lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    const unsigned highest = i > 1 ? 0xBF : lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (byte(i) < lowest || byte(i) > highest) return {Part::Kind::invalid, i};
  }
  return {Part::Kind::whole, length};
}

}  // namespace

std::optional<std::size_t> invalid_utf8_offset(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    std::uint64_t eight = 0;
    while (text.size() - at >= sizeof eight) {
      std::memcpy(&eight, text.data() + at, sizeof eight);
      if ((eight & 0x8080808080808080u) != 0) break;
      at += sizeof eight;
    }
    if (at == text.size()) break;
    const Part part = part_at(text, at);
    if (part.kind != Part::Kind::whole) return at;
    at += part.length;
  }
  return std::nullopt;
}

void append_utf8(std::string& text, char32_t c) {
  const auto put = [&](char32_t byte) { text.push_back(static_cast<char>(static_cast<unsigned char>(byte))); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6);
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

std::string CharacterStream::add(std::string_view bytes) {
  waiting_ += bytes;
  std::string whole;
  std::size_t at = 0;
  while (at < waiting_.size()) {
    const Part part = part_at(waiting_, at);
    if (part.kind == Part::Kind::cut_off) break;
    if (part.kind == Part::Kind::whole) {
      whole.append(waiting_, at, part.length);
    } else {
      append_utf8(whole, replacement_character);
    }
    at += part.length;
  }
  waiting_.erase(0, at);
  return whole;
}

std::string CharacterStream::finish() {
  std::string end;
  if (!waiting_.empty()) append_utf8(end, replacement_character);
  waiting_.clear();
  return end;
}

}  // namespace kronlab::model
