#include <mpi.h>

#include <boost/test/unit_test.hpp>

#include "decompositions/decomposer.hpp"
#include "experiments/pipeline/export_model.hpp"
#include "experiments/pipeline/student.hpp"
#include "tests/support/message_of.hpp"
#include "tests/support/random_matrix.hpp"
#include "tests/support/test_data.hpp"
#include "tests/support/tiny_model.hpp"

using namespace kronlab;
using namespace kronlab::experiments;

namespace {

/// Logits of a sequence, in float64.
Matrix<double> logits_of(const model::Transformer& model) {
  std::vector<std::int32_t> ids;
  for (int i = 0; i < 20; ++i) ids.push_back(7 * i % 259);
  model::Workspace workspace(model::Precision::fp64);
  Tensor stream = Tensor::uninitialised(DType::f64, {20, model.config().width}),
         normed = Tensor::uninitialised(DType::f64, {20, model.config().width});
  model.embed(ids, 20, stream.view());
  for (Index block = 0; block < model.config().num_blocks; ++block)
    model.run_block(block, 20, stream.view(), workspace);
  model.final_norm(stream.view(), normed.view());
  Matrix<double> logits(20, model.config().vocab_size);
  model.head().apply(std::as_const(normed).view(), logits.view());
  return logits;
}

/// A model whose embedding, first query and first MLP matrix are factors, and a head of its own.
model::Transformer compressed(const ModelAccess& access, Factors& factors) {
  auto model = access.load();
  model.untie_head();
  for (const auto& layer : model.layers()) {
    if (layer.name.find("wte") == std::string::npos && layer.name.find("embed") == std::string::npos &&
        layer.name.find(".0.mlp") == std::string::npos && layer.name.find(".0.attn.c_attn[q]") == std::string::npos)
      continue;
    auto result = decompositions::make_svd_decomposer({.truncation = 6, .keep = {}})
                      ->decompose(layer.name, model.layer(layer.name)->to_dense().view(), {});
    factors[layer.name] = result.factorization->parts();
  }
  install(model, factors);
  return model;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(exports)

BOOST_AUTO_TEST_CASE(an_exported_model_has_the_logits_of_the_compressed_one_in_both_formats) {
  for (const auto& config : {kronlab::testing::tiny_llama_config(), kronlab::testing::tiny_gpt2_config()}) {
    const kronlab::testing::TemporaryFolder folder;
    kronlab::testing::write_tiny_model(folder.path() / "model", config);
    const ModelAccess access((folder.path() / "model").string());
    Factors factors;
    const auto model = compressed(access, factors);
    const auto expected = logits_of(model);
    for (const auto format : {ExportFormat::dense, ExportFormat::factors}) {
      const std::string out = folder / (format == ExportFormat::dense ? "dense" : "factors");
      export_model(model, factors, access.files(), format, out);
      const ModelAccess exported(out);
      const auto again = exported.load();
      // Dense weights are rounded to float32 once more: 6 products of eps each.
      BOOST_TEST(kronlab::testing::relative_difference(logits_of(again).view(), expected.view()) <
                 (format == ExportFormat::dense ? 2e-6 : 1e-14));
      BOOST_TEST(exported.tokenizer()->encode("tare") == (std::vector<std::int32_t>{258}));
      BOOST_TEST(again.num_parameters() ==
                 (format == ExportFormat::dense ? model::num_parameters(model.config()) : model.num_parameters()));
      BOOST_CHECK_THROW(export_model(model, factors, access.files(), format, out), ConfigError);
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
