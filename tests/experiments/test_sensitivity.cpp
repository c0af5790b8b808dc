#include "experiments/pipeline/sensitivity.hpp"

#include <boost/test/unit_test.hpp>

#include "experiments/pipeline/compress_stage.hpp"
#include "framework/base/stop_request.hpp"
#include "framework/eval/divergence.hpp"
#include "tests/experiments/run_fixture.hpp"
#include "tests/support/message_of.hpp"

using namespace kronlab;
using namespace kronlab::experiments;

namespace {

constexpr Index window = 16, num_windows = 5;

const std::string svd = "decompose = { kind = \"svd\", keep = 0.4 }\n";
const std::string sensitivity = "sensitivity = { path = \"e.txt\", tokens = 80, window = 16 }\n";

/// A model, a copy whose listed layers are decomposed, and a text.
struct Models : Fixture {
  explicit Models(const model::ModelConfig& config = testing::tiny_llama_config()) : Fixture(config) {}

  std::vector<std::int32_t> ids = [] {
    RandomStream random(5);
    std::vector<std::int32_t> made(num_windows * window + 1);
    for (auto& id : made) id = static_cast<std::int32_t>(random.below(259));
    return made;
  }();
  ModelAccess access{(folder / "model").string()};
  model::Transformer reference = access.load();

  /// With these layers decomposed.
  model::Transformer changed(const std::vector<std::string>& layers) const {
    const auto decomposer = decompositions::make_svd_decomposer({{}, 0.4});
    auto student = reference.share();
    for (const auto& layer : layers) student.replace_layer(layer, decomposer->decompose(layer, reference.layer(layer)->to_dense().view(), {}).factorization);
    return student;
  }
};

struct Gpt2Models : Models {
  Gpt2Models() : Models(testing::tiny_gpt2_config()) {}
};

/// Both whole models over the same tokens: windows of one token more, of which all but the first are predicted.
eval::Divergence whole(const Models& m, const model::Transformer& changed) {
  const comm::Communicator alone = m.world.split(m.world.rank());
  eval::Protocol protocol;
  protocol.window = window + 1, protocol.stride = window;
  return eval::divergence(alone, changed, m.reference, {"text", m.ids}, protocol, 0, model::Precision::fp64, "");
}

void expect_as_whole_models(const Models& m, const std::vector<std::pair<Index, std::vector<std::string>>>& changes) {
  SensitivityProbe probe(m.reference, m.ids, window, model::Precision::fp64), forgetful(m.reference, m.ids, window, model::Precision::fp64, 0);
  for (const auto& [block, layers] : changes) {
    const auto changed = m.changed(layers);
    const auto found = probe.measure(changed, block), again = forgetful.measure(changed, block);
    const auto expected = whole(m, changed);
    BOOST_TEST_CONTEXT(layers.front()) {
      BOOST_TEST_REQUIRE(found.kl.size() == static_cast<std::size_t>(num_windows));
      for (std::size_t w = 0; w < found.kl.size(); ++w) {
        BOOST_TEST(found.kl[w].weight == expected.kl_windows[w].weight);
        BOOST_TEST(found.kl[w].loss == expected.kl_windows[w].loss, boost::test_tools::tolerance(1e-9));
      }
      BOOST_TEST(mean_loss(found.kl).mean > 1e-6);
      BOOST_TEST(found.top1_agreement == expected.top1_agreement.mean, boost::test_tools::tolerance(1e-12));
      BOOST_TEST((found.kl == again.kl && found.loss_change == again.loss_change && found.stream_error == again.stream_error));
    }
  }
}

/// -log p of the text's tokens, the mean.
double loss_of(const Models& m, const model::Transformer& model) {
  const comm::Communicator alone = m.world.split(m.world.rank());
  eval::Protocol protocol;
  protocol.window = window + 1, protocol.stride = window;
  return eval::evaluate(alone, model, {"text", m.ids}, protocol, 0, model::Precision::fp64, "").mean_nll;
}

std::size_t num_files(const std::filesystem::path& folder) {
  return std::filesystem::exists(folder) ? static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder), {})) : 0;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(sensitivities)

BOOST_FIXTURE_TEST_CASE(what_is_behind_a_change_gives_what_two_whole_models_give, Models) {
  const auto last = reference.config().num_blocks - 1;
  expect_as_whole_models(*this, {{SensitivityProbe::embedding, {"embed_tokens"}},  // its head is tied
                                 {0, {"layers.0.self_attn.q_proj"}},
                                 {0, {"layers.0.mlp.down_proj"}},
                                 {1, {"layers.1.mlp.gate_proj", "layers.1.mlp.up_proj"}},
                                 {last, {fmt::format("layers.{}.mlp.up_proj", last)}}});
}

BOOST_FIXTURE_TEST_CASE(gpt2_too_and_an_untied_head, Gpt2Models) {
  reference.untie_head();
  expect_as_whole_models(*this, {{SensitivityProbe::embedding, {"wte"}}, {1, {"h.1.attn.c_proj"}}, {2, {"h.2.mlp.c_proj"}}, {3, {"lm_head"}}});
}

BOOST_FIXTURE_TEST_CASE(change_of_loss_and_of_the_stream, Models) {
  SensitivityProbe probe(reference, ids, window, model::Precision::fp64);
  const auto student = changed({"layers.1.mlp.down_proj"});
  const auto found = probe.measure(student, 1);
  BOOST_TEST(mean_loss(found.loss_change).mean == loss_of(*this, student) - loss_of(*this, reference), boost::test_tools::tolerance(1e-8));
  double difference = 0, norm = 0;
  model::Workspace workspace(model::Precision::fp64);
  for (Index w = 0; w < num_windows; ++w) {
    Tensor a = Tensor::uninitialised(DType::f64, {window, reference.config().width}), b = Tensor::uninitialised(DType::f64, {window, reference.config().width});
    for (const auto& [model, stream] : {std::pair<const model::Transformer*, Tensor*>(&reference, &a), {&student, &b}}) {
      model->embed(std::span(ids).subspan(static_cast<std::size_t>(w * window), window), window, stream->view());
      for (Index block = 0; block < 2; ++block) model->run_block(block, window, stream->view(), workspace);
    }
    const auto x = to_matrix<double>(a.view()), y = to_matrix<double>(b.view());
    for (Index i = 0; i < x.size(); ++i) difference += (x.data()[i] - y.data()[i]) * (x.data()[i] - y.data()[i]), norm += x.data()[i] * x.data()[i];
  }
  BOOST_TEST(found.stream_error == std::sqrt(difference / norm), boost::test_tools::tolerance(1e-12));
}

BOOST_FIXTURE_TEST_CASE(a_run_measures_each_layer_once_and_records_it_with_equal_bits_for_any_number_of_ranks, Fixture) {
  const std::string stage = "[[stage]]\nlayers = [\"layers.*.mlp.*\", \"embed_tokens\"]\n" + svd + sensitivity;
  const auto together = run(world, "s", stage);
  const comm::Communicator alone = world.split(world.rank());
  if (!world.is_root()) return;
  const auto by_one = run(alone, "t", stage);
  BOOST_TEST(numbers_of(run_folder("s", together)) == numbers_of(run_folder("t", by_one)));
  const storage::RunReader reader(run_folder("s", together));
  const auto kl = reader.metrics("sensitivity/kl");
  BOOST_TEST_REQUIRE(kl.size() == 10u);
  BOOST_TEST(kl.front().layer == "embed_tokens");
  BOOST_TEST(kl.back().layer == "layers.2.mlp.down_proj");
  for (const auto& metric : kl) {
    BOOST_TEST(metric.value > 0);
    BOOST_TEST(metric.standard_error.value() > 0);
    BOOST_TEST(metric.protocol == "layer changed alone, first 80 tokens window=16");
    BOOST_TEST(metric.dataset == "e");
  }
  // Of an experiment with one layer more only that one is new, and what is damaged is measured again.
  const auto cache = folder / "t" / "cache" / "sensitivity";
  BOOST_TEST(num_files(cache) == 10u);
  write_file_atomically(std::filesystem::directory_iterator(cache)->path().string(), "{\"kl\": [[1");
  const auto more = run(alone, "t", "[[stage]]\nlayers = [\"layers.*.mlp.*\", \"embed_tokens\", \"layers.0.self_attn.q_proj\"]\n" + svd + sensitivity);
  BOOST_TEST(num_files(cache) == 11u);
  const auto among_more = storage::RunReader(run_folder("t", more)).metrics("sensitivity/kl");
  BOOST_TEST(among_more.size() == 11u);
  for (const auto& metric : kl) {
    const auto same = std::ranges::find(among_more, metric.layer, &Metric::layer);
    BOOST_TEST_REQUIRE((same != among_more.end()));
    BOOST_TEST(same->value == metric.value);
  }
}

BOOST_FIXTURE_TEST_CASE(blocks_alone_and_a_stage_behind_another_one, Gpt2Fixture) {
  const auto summary = run(world, "s", "[[stage]]\nlayers = [\"h.*.attn.c_proj\"]\n" + svd + "[[stage]]\nlayers = [\"h.*.mlp.*\", \"wte\"]\n" + svd +
                                           "sensitivity = { path = \"e.txt\", tokens = 80, window = 16, by = \"block\" }\n");
  if (!world.is_root()) return;
  std::vector<std::string> names;
  for (const auto& metric : storage::RunReader(run_folder("s", summary)).metrics("sensitivity/kl")) {
    names.push_back(metric.layer);
    BOOST_TEST(metric.stage == 1);
  }
  BOOST_TEST(names == (std::vector<std::string>{"wte", "h.0.mlp", "h.1.mlp", "h.2.mlp"}), boost::test_tools::per_element());
}

BOOST_FIXTURE_TEST_CASE(a_signal_stops_between_two_measurements_and_what_is_known_is_kept, Models) {
  const std::vector<std::string> layers{"layers.0.mlp.up_proj", "layers.0.mlp.gate_proj", "layers.1.mlp.up_proj", "layers.1.mlp.gate_proj",
                                        "layers.2.mlp.up_proj", "layers.2.mlp.gate_proj", "layers.2.mlp.down_proj"};
  SensitivitySpec spec;
  spec.text.paths = {"e.txt"}, spec.text.window = window, spec.text.tokens = window * num_windows;
  std::vector<SensitivityUnit> units;
  for (const auto& layer : layers) units.push_back({layer, layer[7] - '0', {layer}});
  const auto student = changed(layers);
  const SensitivityInput input{spec, units, reference, student, ids, model::Precision::fp32, "content", folder / "kept", "stage 0"};
  StopRequest::ask_to_stop();
  BOOST_CHECK_THROW(measure_sensitivities(world, input), Interrupted);
  StopRequest::forget();
  world.barrier();
  BOOST_TEST(num_files(folder / "kept") == static_cast<std::size_t>(world.size()));
  world.barrier();
  const auto all = measure_sensitivities(world, input);
  BOOST_TEST(all.size() == layers.size());
  world.barrier();
  BOOST_TEST(num_files(folder / "kept") == layers.size());
}

BOOST_FIXTURE_TEST_CASE(what_cannot_be_measured_is_refused, Fixture) {
  const auto refused = [&](const std::string& stage, const std::string& expected) {
    const auto message = testing::message_of([&] { run(world, "refused", stage); });
    BOOST_TEST(message.find(expected) != std::string::npos, message);
  };
  const std::string mlp = "[[stage]]\nlayers = [\"layers.*.mlp.*\"]\n";
  refused("[[stage]]\ndistill = { steps = 1, batch_tokens = 32, micro_batch = 1, losses = { ce = 1.0 }, lr = 1e-3 }\n" + sensitivity, "it has none");
  refused(mlp + svd + "sensitivity = { path = \"e.txt\", tokens = 8, window = 16 }\n", "8 are fewer than one window of 16");
  refused(mlp + svd + "sensitivity = { path = \"e.txt\", tokens = 9000, window = 4096 }\n", "sensitivity: window is 4096, the model's context");
  refused(mlp + svd + "sensitivity = { path = \"e.txt\", tokens = 90000, window = 16 }\n", "90001 tokens wanted, 2857 found");
  refused(mlp + svd + "sensitivity = { path = \"nowhere.txt\", tokens = 64, window = 32 }\n", "nowhere.txt");
  refused(mlp + "decompose = { kind = \"kronecker\", right_rows = 2, right_cols = 2 }\npermute = { kind = \"norm-sort\", absorb = true }\n" + sensitivity,
          "moves the hidden units of several together");
}

BOOST_AUTO_TEST_SUITE_END()
