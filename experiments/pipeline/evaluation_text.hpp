#pragma once

#include <string>
#include <vector>

#include "experiments/pipeline/model_access.hpp"
#include "framework/eval/evaluator.hpp"

namespace kronlab::experiments {

/// The ids and words of a text file as a protocol wants them, read and tokenised on root: one text, or for last-word passages. A
/// .jsonl file holds {"text": ...} a line: its passages, or rows for `join`; in any other a line is a passage. Collective.
/// @throws CollectiveError as Tokenizer::encode, if a file cannot be read, if a text is empty or a passage has one word
eval::TokenisedText tokenised_text(const comm::Communicator& communicator, const ModelAccess& model, const std::string& name, const std::string& path,
                                   const eval::Protocol& protocol);

}  // namespace kronlab::experiments
