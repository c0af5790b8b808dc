#pragma once

#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "framework/model/added_tokens.hpp"
#include "framework/model/bpe_merges.hpp"
#include "framework/model/tokenizer.hpp"
#include "framework/model/vocabulary.hpp"

namespace kronlab::model {

/// Normalizer `Prepend`: this in front of a text that is not empty.
struct Prepend {
  std::string content;
};

/// Normalizer `Replace`: this for every occurrence of a string.
struct Replace {
  std::string pattern;
  std::string content;
};

using NormalizerStep = std::variant<Prepend, Replace>;

/// Pre-tokenizer `Digits`: cuts numbers out, as single digits or as runs.
struct DigitsSplit {
  bool individual_digits = false;
};

/// Pre-tokenizer `Split` with a regular expression.
struct RegexSplit {
  enum class Keep { everything, matches };
  std::string pattern;
  Keep keep = Keep::everything;
};

/// Pre-tokenizer `ByteLevel`.
struct ByteLevelSplit {
  bool add_prefix_space = false;
  bool use_regex = true;  ///< GPT-2's pattern
};

/// Pre-tokenizer `Metaspace`.
struct MetaspaceSplit {
  enum class PrependScheme { always, first, never };
  std::string replacement;
  PrependScheme prepend_scheme = PrependScheme::always;
  bool split = true;
};

using PreTokenizerStep = std::variant<DigitsSplit, RegexSplit, ByteLevelSplit, MetaspaceSplit>;

/// What a tokenizer.json, or a vocab.json and a merges.txt, say about a BPE tokenizer.
struct BpeSpec {
  Vocabulary vocabulary;  ///< added tokens included
  std::vector<std::pair<std::string, std::string>> merges;
  std::string unk_token;  ///< empty: none
  bool fuse_unk = false;
  bool byte_fallback = false;
  bool ignore_merges = false;
  bool strips_leading_space = false;  ///< when it decodes
  std::vector<AddedToken> added_tokens;
  std::vector<NormalizerStep> normalizer;
  std::vector<PreTokenizerStep> pre_tokenizer;
  BoundaryTokens boundary;
  std::string origin;
};

/// The merges of a specification, ids for pieces. @throws DataError if one names or makes a piece that is not there
BpeMerges merges_of(const BpeSpec& spec);

}  // namespace kronlab::model
