#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "framework/storage/gguf.hpp"
#include "framework/storage/model_files.hpp"
#include "tests/storage/gguf_writer.hpp"
#include "tests/support/test_data.hpp"

using namespace kronlab;
using namespace kronlab::storage;
using namespace kronlab::testing;

namespace {

/// Metadata of every kind and two tensors.
GgufWriter sample() {
  GgufWriter gguf;
  gguf.raw("a.u8", 0, bytes_of<std::uint8_t>(200));
  gguf.raw("a.i8", 1, bytes_of<std::int8_t>(-5));
  gguf.raw("a.u16", 2, bytes_of<std::uint16_t>(60000));
  gguf.raw("a.i16", 3, bytes_of<std::int16_t>(-600));
  gguf.integer("a.u32", 4'000'000'000U);
  gguf.raw("a.i32", 5, bytes_of<std::int32_t>(-7));
  gguf.number("a.f32", 0.5f);
  gguf.raw("a.bool", 7, bytes_of<std::uint8_t>(1));
  gguf.string("a.text", "größe");
  gguf.raw("a.u64", 10, bytes_of<std::uint64_t>(1ULL << 40));
  gguf.raw("a.i64", 11, bytes_of<std::int64_t>(-1LL << 40));
  gguf.raw("a.f64", 12, bytes_of(0.25));
  gguf.strings("a.texts", {"x", "", "yz"});
  gguf.integers("a.integers", {1, -2});
  gguf.floats("w", {2, 3}, {0, 1, 2, 3, 4, 5});
  gguf.tensor("h", {1, 32}, 8, bytes_of<std::uint16_t>(0x3c00) + std::string(32, '\x05'));
  return gguf;
}

struct Folder {
  TemporaryFolder folder;
  std::string path = folder / "model.gguf";
  GgufFile open(const std::string& bytes) const {
    write_bytes(path, bytes);
    return GgufFile(path);
  }
  bool is_refused(const std::string& bytes, std::string_view words) const {
    return throws_with<DataError>([&] { open(bytes); }, words);
  }
};

Index same_row(Index row) { return row; }

}  // namespace

BOOST_AUTO_TEST_SUITE(gguf)

BOOST_AUTO_TEST_CASE(reads_metadata_and_tensors_of_versions_2_and_3) {
  for (const std::uint32_t version : {2U, 3U}) {
    const Folder folder;
    GgufWriter writer = sample();
    writer.version = version;
    const GgufFile file = folder.open(writer.bytes());
    BOOST_TEST(file.integer("a.u8") == 200);
    BOOST_TEST(file.integer("a.i8") == -5);
    BOOST_TEST(file.integer("a.u16") == 60000);
    BOOST_TEST(file.integer("a.i16") == -600);
    BOOST_TEST(file.integer("a.u32") == 4'000'000'000);
    BOOST_TEST(file.integer("a.i32") == -7);
    BOOST_TEST(file.number("a.f32") == 0.5);
    BOOST_TEST(file.number("a.i32") == -7.0);
    BOOST_TEST(file.text("a.text") == "größe");
    BOOST_TEST(file.integer("a.u64") == 1LL << 40);
    BOOST_TEST(file.integer("a.i64") == -1LL << 40);
    BOOST_TEST(file.number("a.f64") == 0.25);
    BOOST_TEST((file.texts("a.texts") == std::vector<std::string>{"x", "", "yz"}));
    BOOST_TEST((file.integers("a.integers") == std::vector<Index>{1, -2}));
    BOOST_TEST(file.has("a.bool"));
    BOOST_TEST((file.tensors().at("w").shape == std::vector<Index>{2, 3}));
    Tensor w(DType::f32, {2, 3}), turned(DType::f64, {2, 3}), blocks(DType::bf16, {1, 32});
    file.read("w", w.view(), same_row);
    BOOST_TEST(w.matrix<float>()(1, 2) == 5.0f);
    file.read("w", turned.view(), [](Index row) { return 1 - row; });
    BOOST_TEST(turned.matrix<double>()(0, 2) == 5.0);
    file.read("h", blocks.view(), same_row);
    BOOST_TEST(static_cast<float>(blocks.values<bfloat16>()[31]) == 5.0f);
  }
}

BOOST_AUTO_TEST_CASE(refuses_every_truncation) {
  const Folder folder;
  const std::string whole = sample().bytes();
  for (std::size_t length = 0; length < whole.size(); ++length) {
    write_bytes(folder.path, std::string_view(whole).substr(0, length));
    BOOST_CHECK_THROW(GgufFile{folder.path}, DataError);
  }
  BOOST_CHECK_NO_THROW(folder.open(whole));
}

BOOST_AUTO_TEST_CASE(survives_any_single_damaged_byte) {
  const Folder folder;
  const std::string whole = sample().bytes();
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (const unsigned char flip : {0xff, 0x80, 0x01}) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(static_cast<unsigned char>(damaged[at]) ^ flip);
      try {
        const GgufFile file = folder.open(damaged);
        for (const auto& [name, entry] : file.tensors()) {
          Tensor tensor = Tensor::uninitialised(DType::f32, entry.shape);
          file.read(name, tensor.view(), same_row);
        }
      } catch (const DataError&) {
      }  // anything else fails the case
    }
  }
}

BOOST_AUTO_TEST_CASE(refuses_other_formats_and_versions) {
  const Folder folder;
  GgufWriter writer = sample();
  writer.magic = "GGML";
  BOOST_TEST(folder.is_refused(writer.bytes(), "is no GGUF file"));
  for (const std::uint32_t version : {0U, 1U, 4U, 0x03000000U}) {
    writer = sample();
    writer.version = version;
    BOOST_TEST(folder.is_refused(writer.bytes(), fmt::format("version {} is not supported", version)));
  }
}

BOOST_AUTO_TEST_CASE(names_types_that_it_cannot_read) {
  const Folder folder;
  for (const auto& [type, name] : {std::pair(10U, "Q2_K"), std::pair(20U, "IQ4_NL"), std::pair(99U, "unknown")}) {
    GgufWriter writer;
    writer.tensor("w", {256}, type, std::string(1024, '\0'));
    BOOST_TEST(folder.is_refused(writer.bytes(), fmt::format("type {} ({}) is not supported", name, type)));
  }
}

BOOST_AUTO_TEST_CASE(refuses_tensors_that_do_not_fit_the_file_or_each_other) {
  const Folder folder;
  const auto with_tensor = [](const auto& change) {
    GgufWriter writer = sample();
    change(writer.tensors[0], writer);
    return writer.bytes();
  };
  using T = GgufWriter::Tensor;
  BOOST_TEST(folder.is_refused(with_tensor([](T& t, auto&) { t.offset = 1 << 20; }), "lies outside the file"));
  BOOST_TEST(folder.is_refused(with_tensor([](T& t, auto&) { t.offset = ~0ULL; }), "lies outside the file"));
  BOOST_TEST(folder.is_refused(with_tensor([](T& t, auto&) { t.offset = ~0ULL - 30; }), "lies outside the file"));
  BOOST_TEST(folder.is_refused(with_tensor([](T& t, auto&) { t.offset = 16; }), "overlap"));
  BOOST_TEST(folder.is_refused(with_tensor([](T& t, auto&) { t.extents = {1 << 20, 2}; }), "lies outside the file"));
  BOOST_TEST(folder.is_refused(with_tensor([](T& t, auto&) { t.extents = {1ULL << 40, 1ULL << 40}; }), "overflows"));
  BOOST_TEST(folder.is_refused(with_tensor([](T& t, auto&) { t.extents = {1ULL << 63}; }), "an extent of"));
  BOOST_TEST(folder.is_refused(with_tensor([](T& t, auto&) { t.extents = {0, 3}; }), "an extent of 0"));
  BOOST_TEST(folder.is_refused(with_tensor([](T& t, auto&) { t.extents = {}; }), "0 extents"));
  BOOST_TEST(folder.is_refused(with_tensor([](T& t, auto&) { t.extents = {1, 1, 1, 1, 1}; }), "5 extents"));
  BOOST_TEST(
      folder.is_refused(with_tensor([](T& t, auto&) { t.extents = {33}, t.type = 8; }), "no multiple of the 32"));
  BOOST_TEST(
      folder.is_refused(with_tensor([](T& t, auto& w) { w.tensors[1].name = t.name; }), "tensor 'w' is there twice"));
}

BOOST_AUTO_TEST_CASE(refuses_metadata_that_cannot_be) {
  const Folder folder;
  GgufWriter twice;
  twice.integer("k", 1);
  twice.integer("k", 2);
  BOOST_TEST(folder.is_refused(twice.bytes(), "'k' is there twice"));
  GgufWriter unknown;
  unknown.raw("k", 77, std::string(8, '\0'));
  BOOST_TEST(folder.is_refused(unknown.bytes(), "unknown type 77"));
  GgufWriter large;
  large.raw("k", 10, bytes_of(~std::uint64_t{0}));
  BOOST_TEST(folder.is_refused(large.bytes(), "overflows"));
  GgufWriter nested;
  nested.raw("k", 9, bytes_of<std::uint32_t>(9) + bytes_of<std::uint64_t>(1) + std::string(12, '\0'));
  BOOST_TEST(folder.is_refused(nested.bytes(), "nested arrays"));
  for (const std::uint64_t count : {std::uint64_t{1000}, std::uint64_t{1} << 40, ~std::uint64_t{0}}) {
    GgufWriter long_array;
    long_array.raw("k", 9, bytes_of<std::uint32_t>(8) + bytes_of(count));
    BOOST_TEST(folder.is_refused(long_array.bytes(), "more than the file holds"));
    GgufWriter many;
    many.num_keys = count;
    BOOST_TEST(folder.is_refused(many.bytes(), "more than the file holds"));
    GgufWriter long_text;
    long_text.raw("k", 8, bytes_of(count) + "abc");
    BOOST_TEST(folder.is_refused(long_text.bytes(), "truncated"));
  }
  GgufWriter alignment;
  alignment.integer("general.alignment", 0);
  BOOST_TEST(folder.is_refused(alignment.bytes(), "alignment 0"));
}

BOOST_AUTO_TEST_CASE(honours_the_alignment_of_the_file) {
  const Folder folder;
  GgufWriter writer;
  writer.alignment = 128;
  writer.integer("general.alignment", 128);
  writer.floats("v", {1}, {7});
  writer.floats("w", {1}, {9});
  const GgufFile file = folder.open(writer.bytes());
  Tensor w(DType::f32, {1});
  file.read("w", w.view(), same_row);
  BOOST_TEST(w.values<float>()[0] == 9.0f);
}

BOOST_AUTO_TEST_CASE(says_which_key_or_tensor_is_missing_or_of_another_kind) {
  const Folder folder;
  const GgufFile file = folder.open(sample().bytes());
  BOOST_TEST(throws_with<DataError>([&] { file.integer("none"); }, "'none' is missing"));
  BOOST_TEST(throws_with<DataError>([&] { file.integer("a.text"); }, "'a.text' is not an integer"));
  BOOST_TEST(throws_with<DataError>([&] { file.text("a.u8"); }, "is not a string"));
  BOOST_TEST(throws_with<DataError>([&] { file.texts("a.integers"); }, "is not an array of strings"));
  BOOST_TEST(throws_with<DataError>([&] { file.number("a.text"); }, "is not a number"));
  Tensor turned(DType::f32, {3, 2}), integers(DType::i32, {2, 3});
  BOOST_TEST(throws_with<DataError>([&] { file.read("none", turned.view(), same_row); }, "'none'"));
  BOOST_TEST(throws_with<DataError>([&] { file.read("w", turned.view(), same_row); }, "is 2 x 3 in the file"));
  BOOST_CHECK_THROW(file.read("w", integers.view(), same_row), ContractError);
}

BOOST_AUTO_TEST_CASE(refuses_values_that_are_not_finite) {
  const Folder folder;
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float bad : {infinity, -infinity, std::nanf("")}) {
    GgufWriter writer;
    writer.floats("w", {2, 2}, {1, 2, 3, bad});
    const GgufFile file = folder.open(writer.bytes());
    for (const DType dtype : {DType::f32, DType::f64, DType::bf16}) {
      Tensor w(dtype, {2, 2});
      BOOST_TEST(throws_with<DataError>([&] { file.read("w", w.view(), same_row); }, "'w' has a value in row 1"));
    }
  }
  GgufWriter scale;
  scale.tensor("w", {1, 32}, 8, bytes_of<std::uint16_t>(0x7c00) + std::string(32, '\x01'));
  const GgufFile file = folder.open(scale.bytes());
  Tensor w(DType::f32, {1, 32});
  BOOST_CHECK_THROW(file.read("w", w.view(), same_row), DataError);
}

BOOST_AUTO_TEST_SUITE_END()

namespace {

/// A LLaMA of one block: 2 heads of 4, 1 key/value head, width 8, vocabulary 5.
GgufWriter llama() {
  GgufWriter gguf;
  gguf.string("general.architecture", "llama");
  gguf.integer("llama.block_count", 1);
  gguf.integer("llama.context_length", 16);
  gguf.integer("llama.embedding_length", 8);
  gguf.integer("llama.feed_forward_length", 12);
  gguf.integer("llama.attention.head_count", 2);
  gguf.integer("llama.attention.head_count_kv", 1);
  gguf.number("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  gguf.number("llama.rope.freq_base", 100000.0f);
  gguf.string("tokenizer.ggml.model", "gpt2");
  gguf.string("tokenizer.ggml.pre", "smollm");
  gguf.strings("tokenizer.ggml.tokens", {"a", "b", "ab", "c", "<end>"});
  gguf.integers("tokenizer.ggml.token_type", {1, 1, 1, 1, 3});
  gguf.strings("tokenizer.ggml.merges", {"a b"});
  gguf.integer("tokenizer.ggml.eos_token_id", 4);
  return gguf;
}

std::vector<float> counting(std::size_t size, float first = 0.0f) {
  std::vector<float> values(size);
  for (std::size_t k = 0; k < size; ++k) values[k] = first + static_cast<float>(k);
  return values;
}

std::unique_ptr<ModelFiles> open_model(const TemporaryFolder& folder, const GgufWriter& writer) {
  write_bytes(folder / "model.gguf", writer.bytes());
  return ModelFiles::open(folder / "model.gguf");
}

}  // namespace

BOOST_AUTO_TEST_SUITE(gguf_model)

BOOST_AUTO_TEST_CASE(puts_the_interleaved_rows_of_queries_and_keys_back) {
  const TemporaryFolder folder;
  GgufWriter gguf = llama();
  gguf.floats("token_embd.weight", {5, 8}, counting(40));
  gguf.floats("blk.0.attn_q.weight", {8, 8}, counting(64));
  gguf.floats("blk.0.attn_k.weight", {4, 8}, counting(32));
  gguf.floats("blk.0.attn_v.weight", {4, 8}, counting(32));
  const auto model = open_model(folder, gguf);
  const auto& tensors = model->tensors();
  const Tensor q = tensors.load("layers.0.self_attn.q_proj.weight"),
               k = tensors.load("layers.0.self_attn.k_proj.weight");
  const Tensor v = tensors.load("layers.0.self_attn.v_proj.weight");
  for (Index head = 0; head < 2; ++head) {
    for (Index i = 0; i < 2; ++i) {
      for (Index j = 0; j < 2; ++j) {
        const Index in_file = head * 4 + 2 * i + j, in_model = head * 4 + j * 2 + i;
        BOOST_TEST(q.matrix<float>()(in_model, 3) == static_cast<float>(in_file * 8 + 3));
        if (head == 0) BOOST_TEST(k.matrix<float>()(in_model, 3) == static_cast<float>(in_file * 8 + 3));
      }
    }
  }
  for (Index i = 0; i < 4; ++i) BOOST_TEST(v.matrix<float>()(i, 3) == static_cast<float>(i * 8 + 3));
}

BOOST_AUTO_TEST_CASE(gives_the_configuration_and_tokenizer_of_hugging_face) {
  const TemporaryFolder folder;
  GgufWriter gguf = llama();
  gguf.floats("token_embd.weight", {5, 8}, counting(40));
  const auto model = open_model(folder, gguf);
  const auto config = nlohmann::json::parse(model->text("config.json").value());
  BOOST_TEST(config["model_type"] == "llama");
  BOOST_TEST(config["vocab_size"] == 5);
  BOOST_TEST(config["hidden_size"] == 8);
  BOOST_TEST(config["intermediate_size"] == 12);
  BOOST_TEST(config["num_hidden_layers"] == 1);
  BOOST_TEST(config["num_attention_heads"] == 2);
  BOOST_TEST(config["num_key_value_heads"] == 1);
  BOOST_TEST(config["head_dim"] == 4);
  BOOST_TEST(config["max_position_embeddings"] == 16);
  BOOST_TEST(config["rms_norm_eps"] == 1e-5);
  BOOST_TEST(config["rope_theta"] == 100000.0);
  BOOST_TEST(config["tie_word_embeddings"] == true);
  BOOST_TEST(config["eos_token_id"] == 4);
  const auto tokenizer = nlohmann::json::parse(model->text("tokenizer.json").value());
  BOOST_TEST(tokenizer["model"]["vocab"]["ab"] == 2);
  BOOST_TEST(tokenizer["model"]["merges"][0] == "a b");
  BOOST_TEST(tokenizer["added_tokens"][0]["content"] == "<end>");
  BOOST_TEST(tokenizer["pre_tokenizer"]["pretokenizers"][0]["individual_digits"] == true);
  BOOST_TEST(!model->text("merges.txt").has_value());
  BOOST_TEST(model->hash().size() == 64u);
}

BOOST_AUTO_TEST_CASE(a_head_is_untied_unless_it_is_the_embedding_again) {
  for (const float first : {0.0f, 1.0f}) {
    const TemporaryFolder folder;
    GgufWriter gguf = llama();
    gguf.floats("token_embd.weight", {5, 8}, counting(40));
    gguf.floats("output.weight", {5, 8}, counting(40, first));
    const auto model = open_model(folder, gguf);
    BOOST_TEST(model->tensors().has("lm_head.weight") == (first != 0.0f));
    BOOST_TEST((nlohmann::json::parse(model->text("config.json").value())["tie_word_embeddings"] == (first == 0.0f)));
  }
}

BOOST_AUTO_TEST_CASE(reads_gpt2_by_its_own_names) {
  const TemporaryFolder folder;
  GgufWriter gguf;
  gguf.string("general.architecture", "gpt2");
  gguf.integer("gpt2.block_count", 1);
  gguf.integer("gpt2.context_length", 16);
  gguf.integer("gpt2.embedding_length", 4);
  gguf.integer("gpt2.feed_forward_length", 16);
  gguf.integer("gpt2.attention.head_count", 2);
  gguf.number("gpt2.attention.layer_norm_epsilon", 1e-5f);
  gguf.floats("token_embd.weight", {5, 4}, counting(20));
  gguf.floats("position_embd.weight", {16, 4}, counting(64));
  gguf.floats("blk.0.attn_qkv.weight", {12, 4}, counting(48));
  gguf.floats("blk.0.ffn_up.bias", {16}, counting(16));
  const auto model = open_model(folder, gguf);
  BOOST_TEST((model->tensors().info("h.0.attn.c_attn.weight").shape == std::vector<Index>{12, 4}));
  BOOST_TEST(model->tensors().load("h.0.attn.c_attn.weight").matrix<float>()(11, 3) == 47.0f);
  BOOST_TEST(model->tensors().has("wpe.weight"));
  BOOST_TEST(model->tensors().has("h.0.mlp.c_fc.bias"));
  BOOST_TEST(nlohmann::json::parse(model->text("config.json").value())["n_embd"] == 4);
}

BOOST_AUTO_TEST_CASE(names_what_it_does_not_support) {
  const TemporaryFolder folder;
  const auto is_refused = [&](const GgufWriter& gguf, std::string_view words) {
    return throws_with<DataError>(
        [&] {
          const auto model = open_model(folder, gguf);
          model->text("config.json");
          model->text("tokenizer.json");
        },
        words);
  };
  GgufWriter other;
  other.string("general.architecture", "mamba");
  BOOST_TEST(is_refused(other, "architecture \"mamba\""));
  BOOST_TEST(is_refused(GgufWriter{}, "'general.architecture' is missing"));
  BOOST_TEST(is_refused(llama(), "'token_embd.weight' is missing"));
  GgufWriter stranger = llama();
  stranger.floats("blk.0.ssm_in.weight", {2, 2}, counting(4));
  BOOST_TEST(is_refused(stranger, "'blk.0.ssm_in.weight' has no place"));
  GgufWriter scaled = llama();
  scaled.floats("token_embd.weight", {5, 8}, counting(40));
  scaled.string("llama.rope.scaling.type", "yarn");
  BOOST_TEST(is_refused(scaled, "RoPE scaling"));
  GgufWriter frequencies = llama();
  frequencies.floats("rope_freqs.weight", {2}, counting(2));
  BOOST_TEST(is_refused(frequencies, "RoPE scaling by the tensor"));
  GgufWriter sentencepiece;
  sentencepiece.string("general.architecture", "gpt2");
  sentencepiece.string("tokenizer.ggml.model", "t5");
  write_bytes(folder / "model.gguf", sentencepiece.bytes());
  BOOST_TEST(throws_with<DataError>([&] { ModelFiles::open(folder / "model.gguf")->text("tokenizer.json"); },
                                    "tokenizer \"t5\""));
}

BOOST_AUTO_TEST_CASE(refuses_heads_that_do_not_divide_the_rows) {
  const TemporaryFolder folder;
  GgufWriter gguf = llama();
  gguf.floats("token_embd.weight", {5, 8}, counting(40));
  gguf.floats("blk.0.attn_q.weight", {6, 8}, counting(48));
  const auto model = open_model(folder, gguf);
  BOOST_TEST(
      throws_with<DataError>([&] { model->tensors().load("layers.0.self_attn.q_proj.weight"); }, "6 rows for 2 heads"));
}

BOOST_AUTO_TEST_SUITE_END()
