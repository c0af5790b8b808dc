#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "framework/model/byte_alphabet.hpp"
#include "framework/model/tokenizer.hpp"

namespace kronlab::model {

using nlohmann::json;

/// "▁", which stands for the space.
inline const std::string space = "\u2581";

/// LLaMA's form in small: three special tokens, 256 bytes, then pieces; merges by rank: ▁a, bc, ab, ▁ab.
inline json small_llama() {
  json vocab = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}};
  for (int byte = 0; byte < 256; ++byte) vocab[fmt::format("<0x{:02X}>", byte)] = 3 + byte;
  int id = 259;
  for (const auto& piece : {space, std::string("a"), std::string("b"), std::string("c"), space + "a", std::string("bc"),
                            std::string("ab"), space + "ab"}) {
    vocab[piece] = id++;
  }
  const json merges = {space + " a", "b c", "a b", space + "a b"};
  const auto special = [](const char* content, int token) {
    return json{{"content", content}, {"id", token}, {"special", true}, {"normalized", false}};
  };
  return {{"added_tokens", {special("<unk>", 0), special("<s>", 1), special("</s>", 2)}},
          {"normalizer",
           {{"type", "Sequence"},
            {"normalizers",
             {{{"type", "Prepend"}, {"prepend", space}},
              {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", space}}}}}},
          {"pre_tokenizer", nullptr},
          {"decoder",
           {{"type", "Sequence"},
            {"decoders",
             {{{"type", "Replace"}, {"pattern", {{"String", space}}}, {"content", " "}},
              {{"type", "ByteFallback"}},
              {{"type", "Fuse"}},
              {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}}}}},
          {"model",
           {{"type", "BPE"},
            {"vocab", vocab},
            {"merges", merges},
            {"unk_token", "<unk>"},
            {"fuse_unk", true},
            {"byte_fallback", true}}}};
}

/// Byte-level BPE: 256 bytes by their value, then "12" and " a" (Ġa).
inline json small_byte_level(const json& pre_tokenizer) {
  const ByteAlphabet alphabet;
  json vocab;
  for (unsigned byte = 0; byte < 256; ++byte) vocab[alphabet.character(static_cast<unsigned char>(byte))] = byte;
  const std::string blank = alphabet.character(' ');
  vocab["12"] = 256;
  vocab[blank + "a"] = 257;
  const json merges = json::array({json::array({"1", "2"}), json::array({blank, "a"})});
  return {{"pre_tokenizer", pre_tokenizer}, {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", merges}}}};
}

inline json byte_level() { return {{"type", "ByteLevel"}, {"add_prefix_space", false}}; }

inline std::unique_ptr<Tokenizer> make(const std::string& tokenizer_json, const std::string& tokenizer_config = "") {
  TokenizerFiles files;
  files.tokenizer_json = tokenizer_json;
  files.tokenizer_config_json = tokenizer_config;
  files.origin = "folder";
  return make_tokenizer(files);
}

}  // namespace kronlab::model
