#include <boost/test/unit_test.hpp>
#include <vector>

#include "framework/storage/model_files.hpp"
#include "tests/storage/safetensors_bytes.hpp"
#include "tests/support/test_data.hpp"

using namespace kronlab;
using namespace kronlab::storage;
using namespace kronlab::testing;

namespace {

const std::string gpt2_config = R"({"model_type":"gpt2"})", llama_config = R"({"model_type":"llama"})";

struct ModelFolder {
  TemporaryFolder folder;
  explicit ModelFolder(const std::string& config) { write("config.json", config); }
  void write(const std::string& name, const std::string& bytes) const { write_bytes(folder / name, bytes); }
  std::unique_ptr<ModelFiles> open() const { return ModelFiles::open(folder.path()); }
  bool is_refused(std::string_view words) const {
    return throws_with<DataError>([&] { open()->tensors(); }, words);
  }
};

std::vector<std::string> names_of(const TensorSource& tensors) {
  std::vector<std::string> names;
  for (const auto& tensor : tensors.tensors()) names.push_back(tensor.name);
  return names;
}

std::string index_of(const std::string& map) { return R"({"metadata":{},"weight_map":{)" + map + "}}"; }

}  // namespace

BOOST_AUTO_TEST_SUITE(model_folder)

BOOST_AUTO_TEST_CASE(turns_the_conv1d_weights_of_gpt2_with_and_without_prefix) {
  for (const std::string prefix : {"", "transformer."}) {
    const ModelFolder model(gpt2_config);
    model.write("model.safetensors", counting_safetensors({{prefix + "h.0.attn.c_attn.weight", {2, 6}},
                                                           {prefix + "h.0.attn.c_attn.bias", {6}},
                                                           {prefix + "h.0.mlp.c_fc.weight", {40, 70}},
                                                           {prefix + "wte.weight", {3, 2}},
                                                           {prefix + "h.0.attn.bias", {1, 1, 2, 2}},
                                                           {prefix + "h.0.attn.masked_bias", {1}}}));
    const auto files = model.open();
    const auto& tensors = files->tensors();
    BOOST_TEST((names_of(tensors) == std::vector<std::string>{"h.0.attn.c_attn.bias", "h.0.attn.c_attn.weight",
                                                              "h.0.mlp.c_fc.weight", "wte.weight"}));
    BOOST_TEST((tensors.info("h.0.attn.c_attn.weight").shape == std::vector<Index>{6, 2}));
    for (const DType dtype : {DType::f32, DType::f64, DType::bf16}) {
      const auto turned = to_matrix<double>(tensors.load("h.0.attn.c_attn.weight", dtype).view());
      for (Index i = 0; i < 6; ++i) {
        for (Index j = 0; j < 2; ++j) BOOST_TEST(turned(i, j) == static_cast<double>(j * 6 + i));
      }
    }
    const Tensor large = tensors.load("h.0.mlp.c_fc.weight");
    for (Index i = 0; i < 70; ++i) {
      for (Index j = 0; j < 40; ++j) BOOST_REQUIRE(large.matrix<float>()(i, j) == static_cast<float>(j * 70 + i));
    }
    BOOST_TEST(tensors.load("wte.weight").matrix<float>()(1, 0) == 2.0f);
    BOOST_TEST(tensors.load("h.0.attn.c_attn.bias").values<float>()[5] == 5.0f);
  }
}

BOOST_AUTO_TEST_CASE(leaves_the_weights_of_llama_as_they_are) {
  const ModelFolder model(llama_config);
  model.write("model.safetensors", counting_safetensors({{"model.layers.0.mlp.up_proj.weight", {3, 2}},
                                                         {"model.layers.0.self_attn.rotary_emb.inv_freq", {2}},
                                                         {"lm_head.weight", {2, 2}}}));
  const auto files = model.open();
  BOOST_TEST((names_of(files->tensors()) == std::vector<std::string>{"layers.0.mlp.up_proj.weight", "lm_head.weight"}));
  BOOST_TEST(files->tensors().load("layers.0.mlp.up_proj.weight").matrix<float>()(2, 1) == 5.0f);
}

BOOST_AUTO_TEST_CASE(reads_shards_by_their_index) {
  const ModelFolder model(llama_config);
  model.write("a.safetensors", counting_safetensors({{"model.x", {2}, 10.0f}, {"model.unlisted", {1}}}));
  model.write("b.safetensors", counting_safetensors({{"model.y", {2}, 20.0f}}));
  model.write("model.safetensors.index.json", index_of(R"("model.x":"a.safetensors","model.y":"b.safetensors")"));
  const auto files = model.open();
  BOOST_TEST(files->has_weights());
  BOOST_TEST((names_of(files->tensors()) == std::vector<std::string>{"x", "y"}));
  BOOST_TEST(files->tensors().load("x").values<float>()[1] == 11.0f);
  BOOST_TEST(files->tensors().load("y").values<float>()[1] == 21.0f);
}

BOOST_AUTO_TEST_CASE(refuses_wrong_indices_and_missing_shards) {
  const ModelFolder model(llama_config);
  const auto is_refused = [&](const std::string& index, std::string_view words) {
    model.write("model.safetensors.index.json", index);
    return model.is_refused(words);
  };
  model.write("a.safetensors", counting_safetensors({{"x", {2}}}));
  BOOST_TEST(is_refused(index_of(R"("x":"b.safetensors")"), "shard 'b.safetensors' is missing"));
  BOOST_TEST(is_refused(index_of(R"("y":"a.safetensors")"), "tensor 'y' is not in shard 'a.safetensors'"));
  BOOST_TEST(is_refused(index_of(R"("x":"../a.safetensors")"), "not in the model's folder"));
  BOOST_TEST(is_refused(index_of(R"("x":"")"), "shard '' is missing"));
  BOOST_TEST(is_refused(index_of(R"("x":1)"), "is no string"));
  BOOST_TEST(is_refused(index_of(R"("x":"a.safetensors","x":"a.safetensors")"), "twice"));
  BOOST_TEST(is_refused(R"({"weight_map":3})", "expected an object 'weight_map'"));
  BOOST_TEST(is_refused("{}", "expected an object 'weight_map'"));
  BOOST_TEST(is_refused("[", "index.json"));
  write_bytes(model.folder / "a.safetensors", "short");
  BOOST_TEST(is_refused(index_of(R"("x":"a.safetensors")"), "a.safetensors"));
}

BOOST_AUTO_TEST_CASE(a_name_with_and_without_prefix_is_a_duplicate) {
  const ModelFolder model(llama_config);
  model.write("model.safetensors", counting_safetensors({{"model.x", {2}}, {"x", {2}}}));
  BOOST_TEST(model.is_refused("with and without its prefix"));
}

BOOST_AUTO_TEST_CASE(a_folder_without_weights_can_still_be_planned_with) {
  const ModelFolder model(gpt2_config);
  BOOST_TEST(!model.open()->has_weights());
  BOOST_TEST(model.open()->text("config.json").value() == gpt2_config);
  BOOST_TEST(!model.open()->text("tokenizer.json").has_value());
  BOOST_TEST(model.is_refused("has no weights"));
  model.write("pytorch_model.bin", "pickle");
  BOOST_TEST(model.is_refused("only safetensors is read"));
  model.write("one.safetensors", counting_safetensors({{"x", {1}}}));
  BOOST_TEST(model.open()->tensors().has("x"));
  model.write("two.safetensors", counting_safetensors({{"y", {1}}}));
  BOOST_TEST(model.is_refused("found 2"));
}

BOOST_AUTO_TEST_CASE(refuses_what_is_no_model) {
  const TemporaryFolder folder;
  BOOST_TEST(throws_with<DataError>([&] { ModelFiles::open(folder.path()); }, "no config.json"));
  BOOST_TEST(throws_with<DataError>([&] { ModelFiles::open(folder / "none"); }, "does not exist"));
  write_bytes(folder / "model.bin", "x");
  BOOST_TEST(throws_with<DataError>([&] { ModelFiles::open(folder / "model.bin"); }, "neither a folder nor a .gguf"));
  for (const char* config : {"{", "[]", "{\"model_type\":3}"}) {
    const ModelFolder model(config);
    model.write("model.safetensors", counting_safetensors({{"x", {1}}}));
    BOOST_TEST(model.is_refused("config.json"), config);
  }
}

BOOST_AUTO_TEST_CASE(a_conv1d_weight_that_is_no_matrix_is_refused) {
  const ModelFolder model(gpt2_config);
  model.write("model.safetensors", counting_safetensors({{"h.0.mlp.c_fc.weight", {6}}}));
  const auto files = model.open();
  BOOST_CHECK_THROW(files->tensors().load("h.0.mlp.c_fc.weight"), DataError);
}

BOOST_AUTO_TEST_CASE(the_hash_changes_with_any_file_of_the_model) {
  const ModelFolder model(gpt2_config);
  model.write("model.safetensors", counting_safetensors({{"x", {2}}}));
  const std::string first = model.open()->hash();
  BOOST_TEST(first.size() == 64u);
  BOOST_TEST(model.open()->hash() == first);
  model.write("README.md", "words");
  BOOST_TEST(model.open()->hash() == first);
  model.write("model.safetensors", counting_safetensors({{"x", {2}, 1.0f}}));
  BOOST_TEST(model.open()->hash() != first);
}

BOOST_AUTO_TEST_CASE(reads_a_real_small_model) {
  KRONLAB_NEEDS_DATA(path, "golden/tiny_gpt2");
  const auto files = ModelFiles::open(path);
  const auto& tensors = files->tensors();
  const auto& fused = tensors.info("h.0.attn.c_attn.weight");
  BOOST_TEST(fused.shape.at(0) == 3 * fused.shape.at(1));
  for (const auto& tensor : tensors.tensors()) BOOST_CHECK_NO_THROW(tensors.load(tensor.name));
}

BOOST_AUTO_TEST_SUITE_END()
