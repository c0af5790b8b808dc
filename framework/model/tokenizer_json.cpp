#include "framework/model/tokenizer_json.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <nlohmann/json.hpp>

#include "framework/base/error.hpp"

namespace kronlab::model {
namespace {

using nlohmann::json;

json parse(const std::string& text, const std::string& where) {
  try {
    return json::parse(text);
  } catch (const json::exception& error) {
    throw DataError(fmt::format("{}: not valid JSON: {}", where, error.what()));
  }
}

/// Null for a member that is null or not there.
const json* member(const json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

template <class T>
T value_or(const json& object, const char* key, T fallback) {
  const json* found = member(object, key);
  return found == nullptr ? fallback : found->get<T>();
}

const json& required(const json& object, const char* key, const char* what) {
  const json* found = member(object, key);
  if (found == nullptr) throw DataError(fmt::format("expected '{}' in {}; it is not there", key, what));
  return *found;
}

/// The parts of a `Sequence`. A sequence within a sequence is rare; many levels are an attack on the stack.
const json& sequence(const json& part, const char* key, int depth) {
  if (depth > 8) throw DataError(fmt::format("'{}' is nested more than 8 times", key));
  return required(part, key, "a Sequence");
}

std::string type_of(const json& part) { return required(part, "type", "a part of the tokenizer").get<std::string>(); }

[[noreturn]] void throw_unsupported(const std::string& part, const std::string& found, const std::string& known) {
  throw DataError(fmt::format("{} '{}' is not supported; supported: {}", part, found, known));
}

void read_vocabulary(const json& vocabulary, const char* what, Vocabulary& result) {
  if (!vocabulary.is_object()) throw DataError(fmt::format("{}: expected an object of pieces and ids", what));
  for (const auto& [piece, id] : vocabulary.items()) {
    if (!id.is_number_integer()) {
      throw DataError(fmt::format("{}: expected an integer as id of piece '{}', found a value of type {}", what, piece,
                                  id.type_name()));
    }
    // An unsigned number that does not fit becomes negative and is refused.
    result.add(piece, id.get<Index>());
  }
}

std::pair<std::string, std::string> split_merge(std::string_view line, std::size_t number) {
  const std::size_t space = line.find(' ');
  if (space == 0 || space == std::string_view::npos || space + 1 == line.size() ||
      line.find(' ', space + 1) != std::string_view::npos) {
    throw DataError(fmt::format("merge {}: expected two pieces with a space between, found '{}'", number, line));
  }
  return {std::string(line.substr(0, space)), std::string(line.substr(space + 1))};
}

std::vector<std::pair<std::string, std::string>> read_merges(const json& merges) {
  if (!merges.is_array()) throw DataError("model.merges: expected an array");
  std::vector<std::pair<std::string, std::string>> result;
  result.reserve(merges.size());
  for (const json& merge : merges) {
    if (merge.is_string()) {
      result.push_back(split_merge(merge.get_ref<const std::string&>(), result.size()));
    } else if (merge.is_array() && merge.size() == 2) {
      result.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
    } else {
      throw DataError(fmt::format("merge {}: expected \"a b\" or [\"a\", \"b\"], found a value of type {}",
                                  result.size(), merge.type_name()));
    }
  }
  return result;
}

void read_model(const json& model, BpeSpec& spec) {
  const bool looks_like_bpe = member(model, "merges") != nullptr;
  const auto type = value_or<std::string>(model, "type", looks_like_bpe ? "BPE" : "(none)");
  if (type != "BPE") throw_unsupported("model.type", type, "BPE");
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const auto value = value_or<std::string>(model, affix, "");
    if (!value.empty()) throw_unsupported(std::string("model.") + affix, value, "none");
  }
  if (value_or<double>(model, "dropout", 0.0) != 0.0) throw DataError("model.dropout: expected none or 0");
  read_vocabulary(required(model, "vocab", "model"), "model.vocab", spec.vocabulary);
  spec.merges = read_merges(required(model, "merges", "model"));
  spec.unk_token = value_or<std::string>(model, "unk_token", "");
  spec.fuse_unk = value_or<bool>(model, "fuse_unk", false);
  spec.byte_fallback = value_or<bool>(model, "byte_fallback", false);
  spec.ignore_merges = value_or<bool>(model, "ignore_merges", false);
}

void read_added_tokens(const json& tokens, BpeSpec& spec) {
  if (!tokens.is_array()) throw DataError("added_tokens: expected an array");
  for (const json& token : tokens) {
    AddedToken added;
    added.content = required(token, "content", "an added token").get<std::string>();
    const json& id = required(token, "id", "an added token");
    if (!id.is_number_integer()) throw DataError(fmt::format("added token '{}': expected an integer id", added.content));
    spec.vocabulary.add(added.content, id.get<Index>());
    added.id = id.get<TokenId>();
    added.single_word = value_or<bool>(token, "single_word", false);
    added.lstrip = value_or<bool>(token, "lstrip", false);
    added.rstrip = value_or<bool>(token, "rstrip", false);
    added.normalized = value_or<bool>(token, "normalized", !value_or<bool>(token, "special", false));
    spec.added_tokens.push_back(std::move(added));
  }
}

void read_normalizer(const json& part, std::vector<NormalizerStep>& steps, int depth = 0) {
  const std::string type = type_of(part);
  if (type == "Sequence") {
    for (const json& step : sequence(part, "normalizers", depth)) read_normalizer(step, steps, depth + 1);
  } else if (type == "Prepend") {
    steps.emplace_back(Prepend{required(part, "prepend", "normalizer Prepend").get<std::string>()});
  } else if (type == "Replace") {
    const json& pattern = required(part, "pattern", "normalizer Replace");
    const auto text = required(pattern, "String", "the pattern of normalizer Replace").get<std::string>();
    if (text.empty()) throw DataError("normalizer Replace: expected a pattern that is not empty");
    steps.emplace_back(Replace{text, required(part, "content", "normalizer Replace").get<std::string>()});
  } else {
    throw_unsupported("normalizer", type, "Sequence, Prepend, Replace");
  }
}

/// The pattern that matches just this text.
std::string quoted(const std::string& text) {
  std::string pattern;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x80 && std::isalnum(static_cast<unsigned char>(c)) == 0) pattern += '\\';
    pattern += c;
  }
  return pattern;
}

RegexSplit read_split(const json& part) {
  RegexSplit split;
  const json& pattern = required(part, "pattern", "pre_tokenizer Split");
  const json* regex = member(pattern, "Regex");
  split.pattern = regex != nullptr ? regex->get<std::string>()
                                   : quoted(required(pattern, "String", "the pattern of pre_tokenizer Split"));
  const auto behavior = required(part, "behavior", "pre_tokenizer Split").get<std::string>();
  const bool inverted = value_or<bool>(part, "invert", false);
  if (behavior == "Removed" && inverted) {
    split.keep = RegexSplit::Keep::matches;
  } else if (behavior != "Isolated") {
    throw_unsupported("pre_tokenizer Split with behavior", behavior, "Isolated, or Removed with invert");
  }
  return split;
}

/// `Metaspace` as a pre-tokenizer or a decoder; files before version 0.15 of the format say `add_prefix_space` only.
MetaspaceSplit read_metaspace(const json& part) {
  MetaspaceSplit split;
  split.replacement = value_or<std::string>(part, "replacement", "▁");
  if (split.replacement.empty()) throw DataError("Metaspace: expected a replacement that is not empty");
  const bool prefix = value_or<bool>(part, "add_prefix_space", true);
  const auto scheme = value_or<std::string>(part, "prepend_scheme", prefix ? "always" : "never");
  if (scheme == "first") {
    split.prepend_scheme = MetaspaceSplit::PrependScheme::first;
  } else if (scheme == "never") {
    split.prepend_scheme = MetaspaceSplit::PrependScheme::never;
  } else if (scheme != "always") {
    throw_unsupported("Metaspace with prepend_scheme", scheme, "always, first, never");
  }
  split.split = value_or<bool>(part, "split", true);
  return split;
}

void read_pre_tokenizer(const json& part, std::vector<PreTokenizerStep>& steps, int depth = 0) {
  const std::string type = type_of(part);
  if (type == "Sequence") {
    for (const json& step : sequence(part, "pretokenizers", depth)) read_pre_tokenizer(step, steps, depth + 1);
  } else if (type == "Digits") {
    steps.emplace_back(DigitsSplit{value_or<bool>(part, "individual_digits", false)});
  } else if (type == "Split") {
    steps.emplace_back(read_split(part));
  } else if (type == "ByteLevel") {
    steps.emplace_back(ByteLevelSplit{value_or<bool>(part, "add_prefix_space", true),
                                      value_or<bool>(part, "use_regex", true)});
  } else if (type == "Metaspace") {
    steps.emplace_back(read_metaspace(part));
  } else {
    throw_unsupported("pre_tokenizer", type, "Sequence, ByteLevel, Digits, Split, Metaspace");
  }
}

bool adds_leading_space(const BpeSpec& spec) {
  const auto is_prepend = [](const NormalizerStep& step) { return std::holds_alternative<Prepend>(step); };
  const auto is_prepending = [](const PreTokenizerStep& step) {
    const auto* metaspace = std::get_if<MetaspaceSplit>(&step);
    return metaspace != nullptr && metaspace->prepend_scheme != MetaspaceSplit::PrependScheme::never;
  };
  return std::any_of(spec.normalizer.begin(), spec.normalizer.end(), is_prepend) ||
         std::any_of(spec.pre_tokenizer.begin(), spec.pre_tokenizer.end(), is_prepending);
}

bool strips_leading_space(const json& decoder, int depth = 0) {
  const std::string type = type_of(decoder);
  if (type == "Sequence") {
    const json& parts = sequence(decoder, "decoders", depth);
    const auto strips = [&](const json& part) { return strips_leading_space(part, depth + 1); };
    return std::any_of(parts.begin(), parts.end(), strips);
  }
  if (type == "Metaspace") return read_metaspace(decoder).prepend_scheme != MetaspaceSplit::PrependScheme::never;
  return type == "Strip" && value_or<std::string>(decoder, "content", " ") == " " &&
         value_or<Index>(decoder, "start", 0) > 0;
}

BpeSpec spec_of(const json& root) {
  BpeSpec spec;
  if (!root.is_object()) throw DataError("expected an object");
  read_model(required(root, "model", "the file"), spec);
  if (const json* tokens = member(root, "added_tokens")) read_added_tokens(*tokens, spec);
  if (const json* normalizer = member(root, "normalizer")) read_normalizer(*normalizer, spec.normalizer);
  if (const json* pre_tokenizer = member(root, "pre_tokenizer")) read_pre_tokenizer(*pre_tokenizer, spec.pre_tokenizer);
  const json* decoder = member(root, "decoder");
  spec.strips_leading_space = decoder != nullptr ? strips_leading_space(*decoder) : adds_leading_space(spec);
  return spec;
}

/// Runs `read`, and puts the name of the file before what it says is wrong.
template <class Read>
auto reading(const std::string& where, Read read) {
  try {
    return read();
  } catch (const json::exception& error) {
    throw DataError(fmt::format("{}: {}", where, error.what()));
  } catch (const DataError& error) {
    throw DataError(fmt::format("{}: {}", where, error.what()));
  }
}

std::vector<std::pair<std::string, std::string>> read_merges_txt(std::string_view text) {
  std::vector<std::pair<std::string, std::string>> merges;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    at = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.starts_with("#version")) continue;
    merges.push_back(split_merge(line, merges.size()));
  }
  return merges;
}

/// The text of a token in tokenizer_config.json: a string, or an object with `content`.
std::optional<std::string> named_token(const json& config, const char* key) {
  const json* token = member(config, key);
  if (token == nullptr) return std::nullopt;
  return token->is_object() ? required(*token, "content", key).get<std::string>() : token->get<std::string>();
}

}  // namespace

BpeSpec read_tokenizer_json(const TokenizerFiles& files) {
  const std::string where = files.path_of("tokenizer.json");
  const json root = parse(files.tokenizer_json, where);
  BpeSpec spec = reading(where, [&] { return spec_of(root); });
  spec.origin = where;
  spec.boundary = read_boundary_tokens(files, [&](std::string_view piece) { return spec.vocabulary.find(piece); });
  return spec;
}

BpeSpec read_vocab_and_merges(const TokenizerFiles& files) {
  BpeSpec spec;
  spec.origin = files.path_of("vocab.json");
  const json vocabulary = parse(files.vocab_json, spec.origin);
  reading(spec.origin, [&] { read_vocabulary(vocabulary, "vocabulary", spec.vocabulary); });
  spec.merges = reading(files.path_of("merges.txt"), [&] { return read_merges_txt(files.merges_txt); });
  spec.pre_tokenizer.emplace_back(ByteLevelSplit{});
  spec.boundary = read_boundary_tokens(files, [&](std::string_view piece) { return spec.vocabulary.find(piece); });
  return spec;
}

bool is_byte_level(const BpeSpec& spec) {
  return std::any_of(spec.pre_tokenizer.begin(), spec.pre_tokenizer.end(),
                     [](const PreTokenizerStep& step) { return std::holds_alternative<ByteLevelSplit>(step); });
}

BoundaryTokens read_boundary_tokens(const TokenizerFiles& files,
                                    const std::function<std::optional<TokenId>(std::string_view)>& find) {
  const std::string where = files.path_of("tokenizer_config.json");
  const json config = files.tokenizer_config_json.empty() ? json::object() : parse(files.tokenizer_config_json, where);
  const auto token = [&](const char* key, const auto& customary) -> std::optional<TokenId> {
    const auto named = reading(where, [&] { return named_token(config, key); });
    if (named) return find(*named);
    for (const char* name : customary) {
      if (const std::optional<TokenId> id = find(name)) return id;
    }
    return std::nullopt;
  };
  return {token("bos_token", std::array{"<s>", "<|begin_of_text|>", "<|endoftext|>"}),
          token("eos_token", std::array{"</s>", "<|end_of_text|>", "<|endoftext|>"})};
}

}  // namespace kronlab::model
