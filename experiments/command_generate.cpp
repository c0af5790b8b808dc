#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "experiments/commands.hpp"
#include "experiments/pipeline/finished_run.hpp"
#include "framework/base/hash.hpp"
#include "framework/base/progress.hpp"
#include "framework/model/generator.hpp"
#include "framework/model/streaming_decoder.hpp"

namespace kronlab::experiments {
namespace {

namespace fs = std::filesystem;

/// What writes the text.
struct Author {
  std::string name;  ///< path of the model or id of the run
  model::Transformer model;
  std::unique_ptr<model::Tokenizer> tokenizer;

  using Token = std::optional<model::TokenId>;
  static Token first_of(std::optional<Index> of_config, Token of_tokenizer) {
    return of_config ? checked_cast<model::TokenId>(*of_config) : of_tokenizer;
  }
  Token bos() const { return first_of(model.config().bos_id, tokenizer->bos()); }
  Token eos() const { return first_of(model.config().eos_id, tokenizer->eos()); }
};

Author open_author(const GenerateArguments& a) {
  if (fs::exists(a.source) && !fs::exists(fs::path(a.source) / "run.sqlite")) {
    const ModelAccess access(a.source);
    return {a.source, access.load(), access.tokenizer()};
  }
  const bool is_path = a.source.find('/') != std::string::npos || a.source.ends_with(".gguf");
  if (!fs::exists(a.source) && (is_path || !fs::exists(a.store))) {
    throw ConfigError(
        fmt::format("'{}' does not exist: expected a Hugging Face folder, a .gguf file, or a run of the store '{}'{}",
                    a.source, a.store, fs::exists(a.store) ? "" : ", which does not exist"));
  }
  auto run = FinishedRun::open(a.store, a.source);
  return {run.id, std::move(run.student), run.access.tokenizer()};
}

model::TokenId first_of_a_text(const Author& author) {
  if (const auto bos = author.bos()) return *bos;
  throw ConfigError(
      fmt::format("the prompt is empty, and '{}' has no token that begins a text (bos_token_id)", author.name));
}

void put(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) return;
  throw StorageError(fmt::format("standard output: {}", std::strerror(errno)));
}

std::string described(const model::Generation& g, Index context) {
  std::string text = fmt::format("{} prompt tokens ({:.1f} token/s), {} new tokens", g.num_prompt_tokens,
                                 g.prompt_tokens_per_second(), g.ids.size());
  if (g.num_steps > 0) text += fmt::format(" ({:.1f} token/s)", g.tokens_per_second());
  text += ", stopped ";
  switch (g.stop) {
    case model::Generation::Stop::length:
      return text + "at the number of tokens asked for";
    case model::Generation::Stop::end:
      return text + "at the token that ends a text";
    case model::Generation::Stop::context:
      return text + fmt::format("at the end of the model's context of {} tokens", context);
  }
  return text;
}

void write(const GenerateArguments& a) {
  model::GenerationOptions options{.max_tokens = a.tokens,
                                   .sampling = {.temperature = a.temperature, .top_p = a.top_p},
                                   .seed = a.seed,
                                   .end = {},
                                   .num_known = 0,
                                   .precision = model::precision_from(a.precision)};
  options.sampling.expect_valid();  // before a large model is read
  const std::string prompt = a.prompt_file.empty() ? a.prompt : read_text_file(a.prompt_file);
  const Author author = open_author(a);
  options.end = author.eos();
  options.num_known = author.tokenizer->vocab_size();
  auto ids = author.tokenizer->encode(prompt);
  model::StreamingDecoder decoder(*author.tokenizer, ids);
  if (ids.empty()) ids.push_back(first_of_a_text(author));
  std::string text;
  const auto add = [&](const std::string& more) {
    text += more;
    if (!a.as_json) put(more);
  };
  const auto result = model::generate(author.model, ids, options, [&](model::TokenId id) { add(decoder.add(id)); });
  add(decoder.finish());
  if (!a.as_json) put("\n");
  log_info(described(result, author.model.config().context));
  if (!a.as_json) return;
  const nlohmann::json object = {{"text", text},
                                 {"prompt", prompt},
                                 {"prompt_tokens", result.num_prompt_tokens},
                                 {"new_tokens", result.ids.size()},
                                 {"stopped", to_string(result.stop)},
                                 {"tokens_per_second", result.tokens_per_second()},
                                 {"prompt_tokens_per_second", result.prompt_tokens_per_second()},
                                 {"temperature", a.temperature},
                                 {"top_p", a.top_p},
                                 {"seed", a.seed},
                                 {"precision", a.precision},
                                 {"model", author.name}};
  put(object.dump(2) + "\n");
}

}  // namespace

int generate(const comm::Communicator& world, const GenerateArguments& arguments) {
  comm::coordinate(world, [&] {
    if (world.is_root()) write(arguments);
  });
  return 0;
}

}  // namespace kronlab::experiments
