#include "framework/model/pre_tokenizer.hpp"

namespace kronlab::model {

BytePreTokenizer::BytePreTokenizer(const std::vector<PreTokenizerStep>& steps) : classes_(UnicodeClasses::instance()) {
  bool is_in_bytes = false;
  for (const PreTokenizerStep& step : steps) {
    if (is_in_bytes) throw DataError("pre_tokenizer ByteLevel: expected it to be the last step");
    if (const auto* digits = std::get_if<DigitsSplit>(&step)) {
      steps_.emplace_back(*digits);
    } else if (const auto* split = std::get_if<RegexSplit>(&step)) {
      steps_.emplace_back(RegexCut{Regex(split->pattern), split->keep});
    } else if (const auto* bytes = std::get_if<ByteLevelSplit>(&step)) {
      steps_.emplace_back(*bytes);
      is_in_bytes = true;
    } else {
      throw DataError("pre_tokenizer Metaspace together with ByteLevel is not supported");
    }
  }
}

}  // namespace kronlab::model
