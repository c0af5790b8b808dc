#include "framework/model/added_tokens.hpp"

#include <algorithm>

#include "framework/model/unicode_class.hpp"
#include "framework/model/utf8.hpp"

namespace kronlab::model {
namespace {

bool is_word_character(char32_t c) {
  const CharClass char_class = UnicodeClasses::instance()[c];
  return c == U'_' || char_class == CharClass::letter || char_class == CharClass::number;
}

bool stands_alone(std::string_view text, std::size_t begin, std::size_t end) {
  if (begin > 0 && is_word_character(code_point_at(text, previous_character(text, begin)).value)) return false;
  return end == text.size() || !is_word_character(code_point_at(text, end).value);
}

bool is_space(char32_t c) { return UnicodeClasses::instance()[c] == CharClass::space; }

std::size_t skip_spaces_back(std::string_view text, std::size_t begin, std::size_t limit) {
  while (begin > limit) {
    const std::size_t previous = previous_character(text, begin);
    if (!is_space(code_point_at(text, previous).value)) break;
    begin = previous;
  }
  return begin;
}

std::size_t skip_spaces(std::string_view text, std::size_t end) {
  while (end < text.size()) {
    const CodePoint c = code_point_at(text, end);
    if (!is_space(c.value)) break;
    end += c.length;
  }
  return end;
}

}  // namespace

AddedTokenSplitter::AddedTokenSplitter(std::vector<AddedToken> tokens) {
  for (AddedToken& token : tokens) {
    if (token.content.empty()) continue;
    is_empty_ = false;
    by_first_byte_[static_cast<unsigned char>(token.content[0])].push_back(std::move(token));
  }
  for (std::vector<AddedToken>& group : by_first_byte_) {
    std::stable_sort(group.begin(), group.end(), [](const AddedToken& a, const AddedToken& b) {
      return a.content.size() > b.content.size();
    });
  }
}

const AddedToken* AddedTokenSplitter::longest_at(std::string_view text, std::size_t offset) const {
  const std::string_view rest = text.substr(offset);
  for (const AddedToken& token : by_first_byte_[static_cast<unsigned char>(text[offset])]) {
    if (rest.starts_with(token.content)) return &token;
  }
  return nullptr;
}

std::vector<AddedTokenSplitter::Segment> AddedTokenSplitter::split(std::string_view text) const {
  std::vector<Segment> segments;
  std::size_t done = 0;
  std::size_t at = is_empty_ ? text.size() : 0;
  while (at < text.size()) {
    const AddedToken* token = longest_at(text, at);
    if (token == nullptr) {
      ++at;
      continue;
    }
    std::size_t begin = at;
    std::size_t end = at + token->content.size();
    at = end;
    if (token->single_word && !stands_alone(text, begin, end)) continue;
    if (token->lstrip) begin = skip_spaces_back(text, begin, done);
    if (token->rstrip) end = skip_spaces(text, end);
    if (begin > done) segments.push_back({text.substr(done, begin - done), done, std::nullopt});
    segments.push_back({text.substr(begin, end - begin), begin, token->id});
    done = at = end;
  }
  if (done < text.size()) segments.push_back({text.substr(done), done, std::nullopt});
  return segments;
}

}  // namespace kronlab::model
