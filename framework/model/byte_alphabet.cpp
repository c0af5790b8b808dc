#include "framework/model/byte_alphabet.hpp"

#include "framework/model/utf8.hpp"

namespace kronlab::model {

ByteAlphabet::ByteAlphabet() {
  bytes_.fill(-1);
  char32_t next = 0x100;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const bool is_printable = (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD);
    const char32_t c = is_printable ? static_cast<char32_t>(byte) : next++;
    append_utf8(characters_[byte], c);
    bytes_[c] = static_cast<int>(byte);
  }
}

std::optional<std::string> ByteAlphabet::bytes_of(std::string_view piece) const {
  std::string bytes;
  for (std::size_t at = 0; at < piece.size();) {
    const CodePoint c = code_point_at(piece, at);
    if (c.value >= kLimit || bytes_[c.value] < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(static_cast<unsigned char>(bytes_[c.value])));
    at += c.length;
  }
  return bytes;
}

}  // namespace kronlab::model
