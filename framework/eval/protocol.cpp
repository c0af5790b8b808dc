#include "framework/eval/protocol.hpp"

#include <algorithm>

namespace kronlab::eval {

std::string Protocol::name() const {
  if (kind == Kind::last_word) return fmt::format("last-word window={}", window);
  return fmt::format("{}-perplexity window={} stride={} join={} average={} tail={}",
                     normaliser == Normaliser::token ? "token" : "word", window, stride, join == Join::none ? "none" : "rows",
                     average == Average::tokens ? "tokens" : "windows", tail == Tail::keep ? "keep" : "drop");
}

void Protocol::expect_valid(Index context) const {
  if (window < 2 || window > context) {
    throw ConfigError(fmt::format("protocol: window is {}, expected 2 to {} (the model's context)", window, context));
  }
  if (kind == Kind::last_word && (stride != window || join != Join::none || average != Average::tokens || tail != Tail::keep || normaliser != Normaliser::token)) {
    throw ConfigError("protocol: last-word has a window and nothing else: stride, join, average, tail and normaliser are for one text");
  }
  if (stride < 1 || stride > window) {
    throw ConfigError(fmt::format("protocol: stride is {}, expected 1 to {} (the window)", stride, window));
  }
}

std::string joined_text(std::string text, Protocol::Join join) {
  if (join == Protocol::Join::none) return text;
  std::string joined;
  bool is_first = true;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t newline = text.find('\n', begin);
    const std::size_t end = newline == std::string::npos ? text.size() : newline + 1;
    const std::string_view row(text.data() + begin, end - begin);
    if (!is_first) joined += "\n\n";
    is_first = false;
    if (row.find_first_not_of(" \t\r\n") != std::string_view::npos) joined += row;
    begin = end;
  }
  return joined;
}

Index count_words(std::string_view text) {
  Index words = 0;
  bool inside = false;
  for (const char c : text) {
    const bool blank = c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
    if (!blank && !inside) ++words;
    inside = !blank;
  }
  return words;
}

std::vector<Window> windows_of(Index num_tokens, const Protocol& protocol, Index max_windows) {
  std::vector<Window> windows;
  Index scored_to = 0;
  for (Index begin = 0; begin < num_tokens; begin += protocol.stride) {
    if (max_windows > 0 && static_cast<Index>(windows.size()) == max_windows) break;
    const Index end = std::min(begin + protocol.window, num_tokens);
    if (end - begin < protocol.window && protocol.tail == Protocol::Tail::drop) break;
    const Index num_scored = std::min(end - scored_to, end - begin - 1);
    if (num_scored > 0) windows.push_back({begin, end, num_scored});
    scored_to = end;
    if (end == num_tokens) break;
  }
  return windows;
}

}  // namespace kronlab::eval
