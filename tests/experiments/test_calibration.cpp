#include <mpi.h>

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "experiments/pipeline/calibration.hpp"
#include "experiments/pipeline/statistics_cache.hpp"
#include "framework/base/random.hpp"
#include "framework/storage/model_files.hpp"
#include "tests/support/test_data.hpp"
#include "tests/support/tiny_model.hpp"

using namespace kronlab;
using namespace kronlab::experiments;
using model::InputSite;

namespace {

constexpr Index window = 16, num_windows = 7;

struct Fixture {
  kronlab::testing::TemporaryFolder folder;
  model::Transformer model = [this] {
    kronlab::testing::write_tiny_model(folder.path(), kronlab::testing::tiny_llama_config());
    return model::Transformer::load(kronlab::testing::tiny_llama_config(),
                                    storage::ModelFiles::open(folder.path().string())->tensors());
  }();
  std::vector<std::int32_t> ids = [] {
    RandomStream random(5);
    std::vector<std::int32_t> made(num_windows * window + 3);
    for (auto& id : made) id = static_cast<std::int32_t>(random.below(259));
    return made;
  }();
};

/// The inputs of one site in one window: [window, width].
Matrix<double> input_of(const Fixture& f, const model::Transformer& model, const Site& site, Index w) {
  Matrix<double> found;
  model::Workspace workspace(model::Precision::fp32);
  Tensor stream = Tensor::uninitialised(DType::f32, {window, model.config().width});
  model.embed(std::span(f.ids).subspan(static_cast<std::size_t>(w * window), window), window, stream.view());
  for (Index block = 0; block <= site.block; ++block) {
    model.run_block(block, window, stream.view(), workspace, [&](Index at, InputSite where, ConstTensorView input) {
      if (at == site.block && where == site.site) found = to_matrix<double>(input);
    });
  }
  return found;
}

/// X'^T X / tokens of one site, window after window, in plain loops; X' are the inputs in another model.
Matrix<double> reference(const Fixture& f, const Site& site, const model::Transformer& other) {
  Matrix<double> sum;
  for (Index w = 0; w < num_windows; ++w) {
    const auto x = input_of(f, f.model, site, w), before = input_of(f, other, site, w);
    if (sum.size() == 0) sum = Matrix<double>(x.cols(), x.cols());
    for (Index t = 0; t < x.rows(); ++t) {
      for (Index i = 0; i < x.cols(); ++i) {
        for (Index j = 0; j < x.cols(); ++j) sum(i, j) += before(t, i) * x(t, j) / (num_windows * window);
      }
    }
  }
  return sum;
}
Matrix<double> reference(const Fixture& f, const Site& site) { return reference(f, site, f.model); }

double largest_difference(const Matrix<double>& a, const Matrix<double>& b) {
  BOOST_TEST_REQUIRE(a.size() == b.size());
  double largest = 0;
  for (Index i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a.data()[i] - b.data()[i]));
  return largest;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(calibration)

BOOST_FIXTURE_TEST_CASE(moments_are_those_of_all_windows_and_reach_every_owner, Fixture) {
  const comm::Communicator world(MPI_COMM_WORLD);
  const int last = world.size() - 1;
  std::vector<int> all_ranks;
  for (int rank = last; rank >= 0; --rank) all_ranks.push_back(rank);
  const Site attention{0, InputSite::attention}, hidden{2, InputSite::mlp_hidden};
  Calibration calibration(world, model, ids, window, model::Precision::fp32);
  BOOST_TEST(calibration.num_tokens() == num_windows * window);
  const auto statistics = calibration.run_to(model, 3, {{attention, {last}}, {hidden, all_ranks}});
  BOOST_TEST(statistics.contains(attention) == (world.rank() == last));
  BOOST_TEST_REQUIRE(statistics.contains(hidden));
  BOOST_TEST(statistics.at(hidden).num_tokens == num_windows * window);
  // Sums of 112 products in double, in another sequence: a few eps of the largest moment, which is below 10 here.
  BOOST_TEST(largest_difference(statistics.at(hidden).input_moments, reference(*this, hidden)) < 112 * 2.3e-16 * 10);
  if (world.rank() == last)
    BOOST_TEST(largest_difference(statistics.at(attention).input_moments, reference(*this, attention)) <
               112 * 2.3e-16 * 10);
}

BOOST_FIXTURE_TEST_CASE(moments_have_the_same_bits_for_any_number_of_ranks, Fixture) {
  const comm::Communicator world(MPI_COMM_WORLD);
  const comm::Communicator alone = world.split(world.rank());
  const Site site{1, InputSite::mlp};
  Calibration together(world, model, ids, window, model::Precision::fp32),
      by_itself(alone, model, ids, window, model::Precision::fp32);
  const auto a = together.run_to(model, 2, {{site, {0}}});
  const auto b = by_itself.run_to(model, 2, {{site, {0}}});
  if (world.is_root()) BOOST_TEST(largest_difference(a.at(site).input_moments, b.at(site).input_moments) == 0.0);
}

BOOST_FIXTURE_TEST_CASE(observing_leaves_the_stream_where_it_was, Fixture) {
  const comm::Communicator world(MPI_COMM_WORLD);
  const Site site{0, InputSite::mlp}, later{1, InputSite::attention};
  Calibration watched(world, model, ids, window, model::Precision::fp32),
      plain(world, model, ids, window, model::Precision::fp32);
  const auto seen = watched.observe(model, {{site, {0}}});
  const auto after = watched.run_to(model, 2, {{later, {0}}});
  const auto expected = plain.run_to(model, 2, {{site, {0}}, {later, {0}}});
  if (!world.is_root()) return;
  BOOST_TEST(largest_difference(seen.at(site).input_moments, expected.at(site).input_moments) == 0.0);
  BOOST_TEST(largest_difference(after.at(later).input_moments, expected.at(later).input_moments) == 0.0);
}

/// The model with another first MLP.
model::Transformer changed(const Fixture& f) {
  auto other = f.model.share();
  auto weight = other.layer("layers.0.mlp.up_proj")->to_dense();
  for (auto& value : weight.values<float>()) value *= 2;
  other.replace_layer("layers.0.mlp.up_proj", std::make_shared<linalg::DenseOperator>(std::move(weight)));
  return other;
}

BOOST_FIXTURE_TEST_CASE(a_model_that_is_followed_gives_moments_between_its_inputs_and_the_others, Fixture) {
  const comm::Communicator world(MPI_COMM_WORLD);
  const comm::Communicator alone = world.split(world.rank());
  const auto other = changed(*this);
  const Site first{0, InputSite::mlp}, later{2, InputSite::mlp_hidden};
  const auto gather = [&](const comm::Communicator& communicator) {
    Calibration calibration(communicator, model, ids, window, model::Precision::fp32);
    calibration.follow(other);
    auto statistics = calibration.observe(model, {{first, {0}}});
    calibration.follow(other);
    statistics.merge(calibration.run_to(model, 3, {{later, {0}}}));
    return statistics;
  };
  const auto together = gather(world), by_itself = gather(alone);
  if (!world.is_root()) return;
  const double tolerance = 112 * 2.3e-16 * 20;
  for (const auto& site : {first, later}) {
    BOOST_TEST(largest_difference(together.at(site).input_moments, reference(*this, site)) < tolerance);
    BOOST_TEST(largest_difference(together.at(site).reference_moments, reference(*this, site, other)) < tolerance);
    BOOST_TEST(largest_difference(together.at(site).reference_moments, by_itself.at(site).reference_moments) == 0.0);
  }
  BOOST_TEST(largest_difference(reference(*this, later), reference(*this, later, other)) > 1e-3);
}

BOOST_FIXTURE_TEST_CASE(the_cache_gives_back_the_bits_that_were_saved_and_refuses_a_damaged_file, Fixture) {
  const StatisticsCache cache(folder / "store", "key");
  const Site site{3, InputSite::attention_output};
  BOOST_TEST(!cache.has(site));
  decompositions::LayerStatistics statistics;
  statistics.num_tokens = 77;
  statistics.input_moments = Matrix<double>(3, 3);
  for (Index i = 0; i < 9; ++i) statistics.input_moments.data()[i] = 1.0 / static_cast<double>(i + 3);
  cache.save(site, statistics);
  BOOST_TEST(cache.has(site));
  BOOST_TEST(cache.load(site).num_tokens == 77);
  BOOST_TEST(largest_difference(cache.load(site).input_moments, statistics.input_moments) == 0.0);
  const auto path = folder.path() / "store" / "cache" / "statistics" / "key" / "block-3-attention-output.safetensors";
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
  BOOST_CHECK_THROW(cache.load(site), DataError);
}

BOOST_AUTO_TEST_SUITE_END()
