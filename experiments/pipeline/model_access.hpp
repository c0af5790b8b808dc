#pragma once

#include <memory>
#include <string>
#include <vector>

#include "framework/comm/communicator.hpp"
#include "framework/eval/evaluator.hpp"
#include "framework/model/tokenizer.hpp"
#include "framework/model/transformer.hpp"
#include "framework/storage/model_files.hpp"

namespace kronlab::experiments {

/// A model on disk: its configuration, and weights and tokenizer when they are asked for.
class ModelAccess {
 public:
  /// @throws DataError if there is no readable config.json (or GGUF) at `path`
  explicit ModelAccess(const std::string& path);

  const model::ModelConfig& config() const { return config_; }
  const storage::ModelFiles& files() const { return *files_; }
  /// Dense weights, and layers that are stored as factors (`kronlab export --format factors`) as operators.
  /// @throws DataError if there are no weights or they do not fit the configuration
  model::Transformer load() const;
  /// The same, but the weight of a layer is read when it is first needed: a rank reads what it works on.
  model::Transformer open() const;
  /// @throws DataError if there is no tokenizer, or a kind that is not known
  std::unique_ptr<model::Tokenizer> tokenizer() const;
  /// SHA-256 over the names and contents of the tokenizer's files; the weights do not enter.
  std::string tokenizer_hash() const;

 private:
  model::TokenizerFiles tokenizer_files() const;

  std::shared_ptr<const storage::ModelFiles> files_;
  model::ModelConfig config_;
};

/// The first `count` ids of files read one after another; no more text is tokenised than that needs. Collective.
/// @throws CollectiveError as above, or if the files hold fewer
std::vector<std::int32_t> first_tokens(const comm::Communicator& communicator, const ModelAccess& model,
                                       const std::vector<std::string>& paths, Index count);

}  // namespace kronlab::experiments
