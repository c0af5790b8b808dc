#pragma once

#include <string>
#include <vector>

namespace kronlab::analysis {

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
  std::string certainty;  ///< "verified" in the source, "quoted" from elsewhere, "computed" from what it says
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
