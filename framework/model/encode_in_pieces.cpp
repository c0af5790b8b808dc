#include "framework/model/encode_in_pieces.hpp"

#include <algorithm>
#include <optional>

#include "framework/model/utf8.hpp"

namespace kronlab::model {
namespace {

constexpr std::size_t neighbourhood = 256;  // bytes on each side of a cut
constexpr int num_tries = 8;                // cuts of one kind that are tried before another kind

/// Where a text may be cut: the ids of text[context, at) are the first ones of any longer text from `context` on.
struct Cut {
  std::size_t at = 0;
  std::size_t context = 0;
  std::vector<TokenId> context_ids;
};

bool is_behind_newline(std::string_view text, std::size_t at) { return text[at - 1] == '\n' && text[at] != '\n'; }

bool is_before_space(std::string_view text, std::size_t at) { return text[at] == ' ' && text[at - 1] != ' '; }

bool starts_with(std::span<const TokenId> ids, std::span<const TokenId> first) {
  return ids.size() >= first.size() && std::equal(first.begin(), first.end(), ids.begin());
}

/// A place to start reading at, some way before `at`: at a line or a word where there is one, else at a character.
std::size_t context_before(std::string_view text, std::size_t at) {
  if (at <= neighbourhood) return 0;
  const std::size_t nearest = at - neighbourhood, farthest = nearest - std::min(nearest, 4 * neighbourhood);
  for (std::size_t begin = nearest; begin > farthest; --begin) {
    if (is_behind_newline(text, begin) || is_before_space(text, begin)) return begin;
  }
  return previous_character(text, nearest);
}

std::size_t character_end(std::string_view text, std::size_t at) {
  return at >= text.size() ? text.size() : previous_character(text, at + 1);
}

std::optional<Cut> cut_at(const Tokenizer& tokenizer, std::string_view text, std::size_t at) {
  Cut cut{at, context_before(text, at), {}};
  cut.context_ids = tokenizer.encode(text.substr(cut.context, at - cut.context));
  const std::size_t end = character_end(text, at + neighbourhood);
  if (!starts_with(tokenizer.encode(text.substr(cut.context, end - cut.context)), cut.context_ids)) return std::nullopt;
  return cut;
}

/// The last possible cut of [first, last], newlines before spaces. @pre 0 < first, last < text.size()
std::optional<Cut> last_cut(const Tokenizer& tokenizer, std::string_view text, std::size_t first, std::size_t last) {
  for (const auto is_place : {is_behind_newline, is_before_space}) {
    int tries = 0;
    for (std::size_t at = last; at >= first && tries < num_tries; --at) {
      if (!is_place(text, at)) continue;
      if (auto cut = cut_at(tokenizer, text, at)) return cut;
      ++tries;
    }
  }
  return std::nullopt;
}

/// The end of the piece that begins at `begin`; the end of the text is one.
Cut next_cut(const Tokenizer& tokenizer, std::string_view text, std::size_t begin, std::size_t piece_size) {
  for (std::size_t first = begin + 1, size = piece_size; size < text.size() - begin; size *= 2) {
    if (auto cut = last_cut(tokenizer, text, first, begin + size)) return std::move(*cut);
    first = begin + size + 1;
  }
  return {text.size(), text.size(), {}};
}

}  // namespace

void encode_in_pieces(const Tokenizer& tokenizer, std::string_view text, std::size_t piece_size, const TakeIds& take) {
  KRONLAB_EXPECTS(piece_size > 0, "pieces of {} bytes", piece_size);
  if (const auto offset = invalid_utf8_offset(text)) {
    throw DataError(
        fmt::format("not valid UTF-8 at byte {} (0x{:02X})", *offset, static_cast<unsigned char>(text[*offset])));
  }
  for (Cut begin; begin.at < text.size();) {
    Cut end = next_cut(tokenizer, text, begin.at, piece_size);
    std::vector<TokenId> ids = tokenizer.encode(text.substr(begin.context, end.at - begin.context));
    if (!starts_with(ids, begin.context_ids)) {
      ids = tokenizer.encode(text.substr(begin.at, end.at - begin.at));
      begin.context_ids.clear();
    }
    take(std::span<const TokenId>(ids).subspan(begin.context_ids.size()), end.at);
    begin = std::move(end);
  }
}

}  // namespace kronlab::model
