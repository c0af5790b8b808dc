#include "experiments/pipeline/evaluation_text.hpp"

#include <nlohmann/json.hpp>
#include <sstream>

#include "experiments/pipeline/broadcast_values.hpp"
#include "framework/base/hash.hpp"

namespace kronlab::experiments {
namespace {

using eval::Protocol;
using nlohmann::json;

std::vector<std::string> lines_of(const std::string& content) {
  std::vector<std::string> lines;
  std::istringstream in(content);
  for (std::string line; std::getline(in, line);) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (!line.empty()) lines.push_back(std::move(line));
  }
  return lines;
}

/// The rows of a .jsonl file: the string "text" of the object in each line that is not blank. @throws DataError with the line
std::vector<std::string> rows_of_jsonl(const std::string& content) {
  std::vector<std::string> rows;
  std::istringstream in(content);
  std::size_t number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const json row = json::parse(line, nullptr, false);
    const auto found = row.is_object() ? row.find("text") : row.end();
    if (!row.is_object() || found == row.end() || !found->is_string()) {
      throw DataError(fmt::format("line {}: expected an object with a string \"text\", found {}", number, line.substr(0, 60)));
    }
    rows.push_back(found->get<std::string>());
  }
  return rows;
}

std::string joined(const std::vector<std::string>& rows) {
  std::string text;
  for (const auto& row : rows) text += (text.empty() ? "" : "\n\n") + row;
  return text;
}

/// One text: of a .jsonl file its rows, joined.
std::string whole_text(const std::string& path, const std::string& content, Protocol::Join join) {
  if (!path.ends_with(".jsonl")) return eval::joined_text(content, join);
  if (join == Protocol::Join::none) throw DataError("is of many rows, expected join = \"rows\" or last words");
  return joined(rows_of_jsonl(content));
}

/// What the last word of a passage is predicted from goes in with it, from the left as far as the window reaches; its tokens are
/// those of the passage behind those of the passage without it.
void append_passage(const model::Tokenizer& tokenizer, const std::string& passage, Index window, eval::TokenisedText& text) {
  const auto end = passage.find_last_not_of(" \t\r\n");
  const auto blank = end == std::string::npos ? end : passage.find_last_of(" \t\r\n", end);
  const auto before = blank == std::string::npos ? blank : passage.find_last_not_of(" \t\r\n", blank);
  if (before == std::string::npos) throw DataError(fmt::format("passage '{}' has not two words", passage.substr(0, 60)));
  const auto ids = tokenizer.encode(passage.substr(0, end + 1)), context = tokenizer.encode(passage.substr(0, before + 1));
  if (context.empty() || context.size() >= ids.size() || !std::equal(context.begin(), context.end(), ids.begin())) {
    throw DataError(fmt::format("passage '{}...': the tokens of its last word are not apart", passage.substr(0, 60)));
  }
  const auto num_last = static_cast<Index>(ids.size() - context.size());
  if (num_last >= window) throw DataError(fmt::format("passage '{}...': a last word of {} tokens for a window of {}", passage.substr(0, 60), num_last, window));
  const auto begin = static_cast<Index>(text.ids.size());
  text.ids.insert(text.ids.end(), ids.end() - static_cast<std::ptrdiff_t>(std::min<Index>(window, static_cast<Index>(ids.size()))), ids.end());
  text.passages.push_back({begin, static_cast<Index>(text.ids.size()), num_last});
  ++text.num_words;
}

eval::TokenisedText tokenised(const ModelAccess& model, const std::string& path, const Protocol& protocol) {
  eval::TokenisedText text;
  const std::string content = read_text_file(path);
  if (content.empty()) throw DataError(fmt::format("text '{}' is empty", path));
  const auto tokenizer = model.tokenizer();
  try {
    if (protocol.kind == Protocol::Kind::last_word) {
      for (const auto& passage : path.ends_with(".jsonl") ? rows_of_jsonl(content) : lines_of(content)) append_passage(*tokenizer, passage, protocol.window, text);
      return text;
    }
    const std::string whole = whole_text(path, content, protocol.join);
    text.ids = tokenizer->encode(whole);
    text.num_words = eval::count_words(whole);
  } catch (const DataError& error) {
    throw DataError(fmt::format("text '{}': {}", path, error.what()));
  }
  return text;
}

}  // namespace

eval::TokenisedText tokenised_text(const comm::Communicator& communicator, const ModelAccess& model, const std::string& name, const std::string& path,
                                   const Protocol& protocol) {
  auto text = comm::coordinate(communicator, [&] { return communicator.is_root() ? tokenised(model, path, protocol) : eval::TokenisedText(); });
  text.name = name;
  broadcast_values(communicator, text.ids);
  broadcast_values(communicator, text.passages);
  communicator.broadcast(std::span<Index>(&text.num_words, 1));
  return text;
}

}  // namespace kronlab::experiments
