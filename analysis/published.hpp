#pragma once

#include <string>
#include <vector>

namespace kronlab::analysis {

/// How sure a number is, and what that word means.
struct Certainty {
  std::string word, meaning;
};
inline const std::vector<Certainty> certainties = {{"verified", "read in the source"},
                                                   {"quoted", "read elsewhere"},
                                                   {"computed", "from what the source states, not printed there"},
                                                   {"unverified", "no source found, not to be cited"}};

/// A number that somebody published, with its source. Texts are empty where there is nothing to say.
struct PublishedValue {
  std::string method;   ///< "KnGPT-2"
  std::string model;    ///< what was compressed: "GPT-2 small"
  std::string setting;  ///< tells several values of one method apart: "sparsity 50 %"
  std::string metric;   ///< "perplexity", "parameters"
  std::string dataset;
  double value = 0.0;
  std::string unit;       ///< "1" for pure numbers
  std::string protocol;   ///< how it was measured, as far as the source tells
  std::string source;     ///< "arXiv:2110.08152"
  std::string place;      ///< "Table 2"
  std::string certainty;  ///< one of `certainties`
  std::string note;
};

/// The values in a text of `[[value]]` entries. @throws ConfigError with file, line and column on a missing, unknown or
/// wrong key, and where two entries differ in nothing but their value
std::vector<PublishedValue> read_published(const std::string& text, const std::string& file);

/// Those of analysis/published.toml.
const std::vector<PublishedValue>& published_values();

/// "arXiv:2110.08152, Table 2 (quoted): PROTOCOL; NOTE".
std::string citation_of(const PublishedValue& value);

}  // namespace kronlab::analysis
