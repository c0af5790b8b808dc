#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "framework/eval/divergence.hpp"
#include "framework/eval/window_batches.hpp"
#include "framework/kernels/divergence.hpp"
#include "tests/support/forward_pass.hpp"
#include "tests/support/memory_source.hpp"
#include "tests/support/message_of.hpp"

namespace kronlab::eval {
namespace {

using model::Precision;

model::ModelConfig config_of(Index vocabulary) {
  model::ModelConfig c;
  c.architecture = model::Architecture::llama;
  c.vocab_size = vocabulary, c.width = 16, c.ffn_width = 24, c.num_blocks = 1;
  c.num_heads = 2, c.num_kv_heads = 2, c.head_dim = 8, c.context = 24;
  return c;
}

struct Models {
  comm::Communicator world{MPI_COMM_WORLD}, alone = world.split(world.rank());
  model::Transformer model = model::Transformer::load(config_of(600), testing::random_model(config_of(600), 1));
  model::Transformer reference = model::Transformer::load(config_of(600), testing::random_model(config_of(600), 2));
  TokenisedText text{.name = "random", .ids = {}, .num_words = 1};
  Protocol protocol{.window = 24, .stride = 17};

  Models() {
    RandomStream random(3);
    for (int i = 0; i < 150; ++i) text.ids.push_back(static_cast<std::int32_t>(random.below(600)));
  }
};

/// Every scored token's, from whole logits in double, window after window.
std::vector<std::vector<kernels::RowDivergence>> slow(const Models& m) {
  std::vector<std::vector<kernels::RowDivergence>> windows;
  for (const Window& w : windows_of(static_cast<Index>(m.text.ids.size()), m.protocol, 0)) {
    const auto ids = std::span(m.text.ids).subspan(static_cast<std::size_t>(w.begin), static_cast<std::size_t>(w.length()));
    const auto p = testing::forward_pass(m.reference, ids, w.length(), Precision::fp64), q = testing::forward_pass(m.model, ids, w.length(), Precision::fp64);
    const Index first = w.length() - 1 - w.num_scored;
    auto& rows = windows.emplace_back(static_cast<std::size_t>(w.num_scored));
    const std::vector<std::int32_t> targets(ids.end() - w.num_scored, ids.end());
    kernels::divergences(p.logits.view().block(first, 0, w.num_scored, 600), q.logits.view().block(first, 0, w.num_scored, 600), targets, rows);
  }
  return windows;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(divergence_of_models)

BOOST_FIXTURE_TEST_CASE(means_errors_and_shares_are_those_of_a_slow_reference, Models) {
  const auto windows = slow(*this);
  std::vector<WindowLoss> kl, jsd, top1, top5, change;
  std::vector<double> all_kl, all_change;
  double squares = 0;
  for (const auto& rows : windows) {
    for (auto* sums : {&kl, &jsd, &top1, &top5, &change}) sums->push_back({static_cast<double>(rows.size()), 0});
    for (const auto& row : rows) {
      const double by = row.probability - row.reference_probability;
      kl.back().loss += row.kl, jsd.back().loss += row.jsd, top1.back().loss += row.has_same_first, top5.back().loss += row.num_shared_of_5 / 5.0;
      change.back().loss += by, squares += by * by;
      all_kl.push_back(row.kl), all_change.push_back(by);
    }
  }
  std::ranges::sort(all_kl), std::ranges::sort(all_change);
  const auto n = all_kl.size();
  const auto found = divergence(world, model, reference, text, protocol, 0, Precision::fp64, "test");
  const auto same = boost::test_tools::tolerance(1e-9);
  for (const auto& [mean, sums] : {std::pair{&found.kl, &kl}, {&found.jsd, &jsd}, {&found.top1_agreement, &top1}, {&found.top5_agreement, &top5}, {&found.probability_change, &change}}) {
    BOOST_TEST(mean->mean == mean_loss(*sums).mean, same);
    BOOST_TEST(mean->standard_error == mean_loss(*sums).standard_error, same);
  }
  BOOST_TEST(found.predicted_tokens == static_cast<Index>(n));
  BOOST_TEST(found.probability_change_rms == std::sqrt(squares / static_cast<double>(n)), same);
  BOOST_TEST(found.kl_at[2] == all_kl[(n + 1) / 2 - 1], same);  // the median
  BOOST_TEST(found.kl_at[5] == all_kl.back(), same);
  BOOST_TEST(found.probability_change_at[0] == all_change[static_cast<std::size_t>(std::ceil(0.01 * static_cast<double>(n))) - 1], same);
  BOOST_TEST(found.kl_windows.size() == windows.size());
  BOOST_TEST(found.kl.mean > 0.01);  // the models do differ
}

BOOST_FIXTURE_TEST_CASE(a_model_is_at_no_distance_from_itself_and_the_number_of_ranks_changes_no_bit, Models) {
  const auto itself = divergence(world, model, model, text, protocol, 0, Precision::fp32, "test");
  BOOST_TEST(itself.kl.mean == 0);
  BOOST_TEST(itself.top1_agreement.mean == 1);
  BOOST_TEST(itself.top5_agreement.mean == 1);
  for (const auto precision : {Precision::fp32, Precision::bf16}) {
    const auto together = divergence(world, model, reference, text, protocol, 0, precision, "test");
    const auto single = divergence(alone, model, reference, text, protocol, 0, precision, "test");
    BOOST_TEST(together.kl.mean == single.kl.mean);
    BOOST_TEST(together.jsd.standard_error == single.jsd.standard_error);
    BOOST_TEST(together.probability_change_rms == single.probability_change_rms);
    BOOST_TEST((together.kl_windows == single.kl_windows));
  }
}

BOOST_FIXTURE_TEST_CASE(models_of_other_vocabularies_are_not_compared, Models) {
  const auto other = model::Transformer::load(config_of(601), testing::random_model(config_of(601), 2));
  const auto message = testing::message_of([&] { divergence(world, model, other, text, protocol, 0, Precision::fp32, "test"); });
  BOOST_TEST(message.find("vocabulary of 600 cannot be compared with one of 601") != std::string::npos, message);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace kronlab::eval
