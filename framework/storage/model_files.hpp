#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "framework/tensor/tensor_source.hpp"

namespace kronlab::storage {

/// A model on disk, whatever its format, in Hugging Face's form: texts by file name and tensors by canonical name.
///
/// Canonical names are Hugging Face's without the prefix `transformer.` or `model.`; matrices are [out, in], GPT-2's
/// Conv1D weights too. A GGUF file's metadata appear as config.json and tokenizer.json.
class ModelFiles {
 public:
  /// A Hugging Face folder or a .gguf file. @throws DataError saying what was expected and found
  static std::unique_ptr<ModelFiles> open(const std::string& path);
  virtual ~ModelFiles() = default;

  /// "config.json", "tokenizer.json", "vocab.json", "merges.txt", "tokenizer.model"; none if there is no such file
  virtual std::optional<std::string> text(const std::string& name) const = 0;
  /// Whether weights are there: a folder with only config.json can be planned with.
  virtual bool has_weights() const = 0;
  /// @throws DataError if there are no weights
  virtual const TensorSource& tensors() const = 0;
  /// Paths of all files that make the model, by name.
  virtual std::vector<std::string> file_paths() const = 0;
  /// SHA-256 over the names and contents of the model's files, from the SHA-256 of each content: ranks may share the work.
  virtual std::string hash_from(const std::vector<std::string>& file_paths, const std::vector<std::string>& digests) const = 0;
  std::string hash() const;

  const std::string& path() const { return path_; }

 protected:
  explicit ModelFiles(std::string path) : path_(std::move(path)) {}

 private:
  std::string path_;
};

std::unique_ptr<ModelFiles> open_gguf(const std::string& path);
std::unique_ptr<ModelFiles> open_folder(const std::string& path);

}  // namespace kronlab::storage
