#include "framework/model/sentencepiece_tokenizer.hpp"

#include <sentencepiece_processor.h>

#include "framework/base/error.hpp"
#include "framework/model/tokenizer_json.hpp"

namespace kronlab::model {
namespace {

using sentencepiece::SentencePieceProcessor;

class SentencePieceTokenizer final : public Tokenizer {
 public:
  SentencePieceTokenizer(std::unique_ptr<SentencePieceProcessor> processor, BoundaryTokens boundary, std::string origin)
      : Tokenizer(boundary, std::move(origin)), processor_(std::move(processor)) {}

  Index vocab_size() const override { return processor_->GetPieceSize(); }

 private:
  std::vector<TokenId> encode_valid(std::string_view text) const override {
    std::vector<int> ids;
    check(processor_->Encode({text.data(), text.size()}, &ids));
    return {ids.begin(), ids.end()};
  }

  std::string decode_in_range(std::span<const TokenId> ids) const override {
    std::string text;
    check(processor_->Decode(std::vector<int>(ids.begin(), ids.end()), &text));
    return text;
  }

  void check(const sentencepiece::util::Status& status) const {
    if (!status.ok()) throw DataError(fmt::format("{}: {}", origin(), status.ToString()));
  }

  std::unique_ptr<SentencePieceProcessor> processor_;
};

std::optional<TokenId> id_if_any(int id) { return id < 0 ? std::nullopt : std::optional<TokenId>(id); }

}  // namespace

std::unique_ptr<Tokenizer> make_sentencepiece_tokenizer(const TokenizerFiles& files) {
  const std::string origin = files.path_of("tokenizer.model");
  auto processor = std::make_unique<SentencePieceProcessor>();
  const auto status = processor->LoadFromSerializedProto({files.tokenizer_model.data(), files.tokenizer_model.size()});
  if (!status.ok()) throw DataError(fmt::format("{}: not a sentencepiece model: {}", origin, status.ToString()));
  BoundaryTokens boundary{id_if_any(processor->bos_id()), id_if_any(processor->eos_id())};
  if (!files.tokenizer_config_json.empty()) {
    const BoundaryTokens named = read_boundary_tokens(files, [&](std::string_view piece) -> std::optional<TokenId> {
      const int id = processor->PieceToId({piece.data(), piece.size()});
      return processor->IsUnknown(id) ? std::nullopt : std::optional<TokenId>(id);
    });
    if (named.bos) boundary.bos = named.bos;
    if (named.eos) boundary.eos = named.eos;
  }
  return std::make_unique<SentencePieceTokenizer>(std::move(processor), boundary, origin);
}

}  // namespace kronlab::model
