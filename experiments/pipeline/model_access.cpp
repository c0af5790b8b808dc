#include "experiments/pipeline/model_access.hpp"

#include <fstream>

#include "experiments/pipeline/broadcast_values.hpp"
#include "experiments/pipeline/factors_file.hpp"
#include "framework/base/hash.hpp"

namespace kronlab::experiments {
namespace {

model::ModelConfig config_of(const storage::ModelFiles& files) {
  const auto text = files.text("config.json");
  if (!text) throw DataError(fmt::format("'{}' has no config.json", files.path()));
  return model::ModelConfig::from_json(*text, files.path() + "/config.json");
}

/// The first `size` bytes of a file, cut before the last line that is not whole; all of it where it is shorter.
std::string beginning_of(const std::string& path, std::size_t size) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw DataError(fmt::format("text '{}' cannot be opened", path));
  std::string text(size, '\0');
  file.read(text.data(), static_cast<std::streamsize>(size));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() < size) return text;
  const std::size_t newline = text.rfind('\n');
  if (newline == std::string::npos) return read_text_file(path);
  text.resize(newline + 1);
  return text;
}

}  // namespace

ModelAccess::ModelAccess(const std::string& path)
    : files_(storage::ModelFiles::open(path)), config_(config_of(*files_)) {}

model::Transformer ModelAccess::load() const {
  return model::Transformer::load(config_, files_->tensors(), operators_of(stored_factors(files_->path())));
}

model::Transformer ModelAccess::open() const {
  return model::Transformer::open(config_, {files_, &files_->tensors()}, operators_of(stored_factors(files_->path())));
}

model::TokenizerFiles ModelAccess::tokenizer_files() const {
  const auto text = [&](const char* name) { return files_->text(name).value_or(""); };
  return {text("tokenizer.json"),  text("vocab.json"),            text("merges.txt"),
          text("tokenizer.model"), text("tokenizer_config.json"), files_->path()};
}

std::unique_ptr<model::Tokenizer> ModelAccess::tokenizer() const { return model::make_tokenizer(tokenizer_files()); }

std::string ModelAccess::tokenizer_hash() const {
  const auto files = tokenizer_files();
  return sha256(fmt::format("tokenizer.json {}\nvocab.json {}\nmerges.txt {}\ntokenizer.model {}\n"
                            "tokenizer_config.json {}\n",
                            sha256(files.tokenizer_json), sha256(files.vocab_json), sha256(files.merges_txt),
                            sha256(files.tokenizer_model), sha256(files.tokenizer_config_json)));
}

std::vector<std::int32_t> first_tokens(const comm::Communicator& communicator, const ModelAccess& model,
                                       const std::vector<std::string>& paths, Index count) {
  constexpr std::size_t bytes_per_token = 8;  // more than any prose needs
  std::vector<std::int32_t> ids;
  comm::coordinate(communicator, [&] {
    if (!communicator.is_root()) return;
    const auto tokenizer = model.tokenizer();
    for (const auto& path : paths) {
      const auto missing = static_cast<std::size_t>(count) - ids.size();
      std::vector<std::int32_t> more;
      std::size_t taken = 0;
      for (std::size_t size = (missing + 64) * bytes_per_token;; size *= 2) {
        const std::string text = beginning_of(path, size);
        more = tokenizer->encode(text);
        if (more.size() >= missing || text.size() <= taken || text.size() < size / 2) break;
        taken = text.size();
      }
      ids.insert(ids.end(), more.begin(), more.begin() + static_cast<std::ptrdiff_t>(std::min(more.size(), missing)));
      if (static_cast<Index>(ids.size()) == count) return;
    }
    throw DataError(fmt::format("{} tokens wanted, {} found in {} file(s), the last '{}'", count,
                                ids.size(), paths.size(), paths.back()));
  });
  broadcast_values(communicator, ids);
  return ids;
}

}  // namespace kronlab::experiments
