#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <utility>

#include "decompositions/decomposer.hpp"
#include "framework/linalg/gemm.hpp"
#include "tests/support/message_of.hpp"
#include "tests/support/random_matrix.hpp"

using namespace kronlab;
using namespace kronlab::decompositions;
using kronlab::testing::message_of;
using kronlab::testing::random_matrix;
using kronlab::testing::random_tensor;
using kronlab::testing::relative_difference;

namespace {

ConstTensorView own_rows(const comm::Communicator& world, const Tensor& w) {
  const auto range = comm::block_range(w.rows(), world.rank(), world.size());
  return w.view().block(range.begin, 0, range.size(), w.cols());
}

Matrix<double> random_moments(Index width, RandomStream random) {
  Matrix<double> moments(width, width);
  linalg::gram(random_matrix(4 * width, width, random).view(), moments);
  return moments;
}

LayerStatistics random_statistics(Index width) {
  LayerStatistics statistics;
  statistics.input_moments = random_moments(width, RandomStream(8));
  return statistics;
}

LayerStatistics both_statistics(Index height, Index width) {
  auto statistics = random_statistics(width);
  statistics.gradient_moments = random_moments(height, RandomStream(9));
  return statistics;
}

LayerStatistics diagonal_statistics(Index height, Index width) {
  auto statistics = both_statistics(height, width);
  Matrix<double> diagonal(1, height);
  for (Index i = 0; i < height; ++i) diagonal(0, i) = statistics.gradient_moments(i, i);
  statistics.gradient_moments = diagonal;
  return statistics;
}

bool is_enough(const Decomposer& decomposer, const LayerStatistics& statistics) {
  if (decomposer.needs_input_moments() && statistics.input_moments.size() == 0) return false;
  const Index height = statistics.gradient_moments.rows();
  switch (decomposer.needed_gradient_moments()) {
    case GradientMoments::none: return true;
    case GradientMoments::diagonal: return height > 0;
    case GradientMoments::full: return height > 1;
  }
  return false;
}

/// A kind that knows only the local form.
class LocalOnly final : public Decomposer {
 public:
  std::string_view kind() const override { return "local-only"; }
  Size size_of(const std::string&, Index, Index) const override { return {}; }
  double cost(Index, Index) const override { return 0; }

 private:
  Decomposition do_decompose(const std::string&, ConstTensorView, const LayerStatistics&) const override { return {}; }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(distributed)

BOOST_AUTO_TEST_CASE(every_kind_gives_what_its_local_form_gives) {
  const comm::Communicator world(MPI_COMM_WORLD);
  for (const auto& [m, n] : {std::pair<Index, Index>{4, 6}, {2, 132}, {132, 66}, {66, 132}}) {
    const Tensor w = random_tensor({m, n}, RandomStream(2));
    const SvdOptions size{.truncation = (std::min(m, n) + 1) / 2, .keep = {}};
    std::vector<std::unique_ptr<Decomposer>> kinds;
    kinds.push_back(make_svd_decomposer(size));
    kinds.push_back(make_whitened_svd_decomposer({size, 0.0}));
    for (const auto moments : {GradientMoments::diagonal, GradientMoments::full})
      kinds.push_back(make_whitened_svd_decomposer({size, 0.0, Weighting::two_sided, 0.01, moments}));
    kinds.push_back(make_kronecker_decomposer({m / 2, n / 2, 2}));
    kinds.push_back(make_kronecker_decomposer({2, 3, 3}));
    for (const auto& statistics :
         {LayerStatistics{}, random_statistics(n), both_statistics(m, n), diagonal_statistics(m, n)}) {
      for (const auto& decomposer : kinds) {
        if (!is_enough(*decomposer, statistics)) continue;
        BOOST_TEST_CONTEXT(decomposer->kind() << " of " << m << " x " << n) {
          const auto local = decomposer->decompose("w", w.view(), statistics);
          const auto spread = decomposer->decompose(world, "w", own_rows(world, w), m, n, statistics);
          // Factors are rounded to float32: products of k terms, k at most n. The double part (n eps over the gap,
          // times the condition of the whitening) stays below that here.
          const double tolerance = static_cast<double>(std::max(m, n)) * std::numeric_limits<float>::epsilon();
          BOOST_TEST(relative_difference(spread.factorization->to_dense().view(),
                                         local.factorization->to_dense().view()) < tolerance);
          BOOST_TEST(std::abs(spread.relative_error - local.relative_error) < tolerance);
          BOOST_TEST(spread.weighted_error.has_value() == local.weighted_error.has_value());
          if (local.weighted_error) BOOST_TEST(std::abs(*spread.weighted_error - *local.weighted_error) < tolerance);
          BOOST_TEST(spread.two_sided_error.has_value() == local.two_sided_error.has_value());
          if (local.two_sided_error) BOOST_TEST(std::abs(*spread.two_sided_error - *local.two_sided_error) < tolerance);
          BOOST_TEST(spread.spectrum.size() == local.spectrum.size());
          const auto mine = serialise(spread.factorization->parts());
          BOOST_TEST((world.broadcast(std::string(mine)) == mine));  // the same on every rank
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(what_is_wrong_on_one_rank_is_thrown_on_all) {
  const comm::Communicator world(MPI_COMM_WORLD);
  Tensor w = random_tensor({8, 6}, RandomStream(2));
  const auto svd = make_svd_decomposer({.truncation = 2, .keep = {}});
  const auto call = [&](const Decomposer& decomposer, Index rows) {
    decomposer.decompose(world, "w", own_rows(world, w), rows, 6, {});
  };
  BOOST_TEST(message_of([&] { call(LocalOnly(), 8); }).starts_with("local-only: no distributed form, needed for `w`"));
  BOOST_CHECK_THROW(call(LocalOnly(), 8), ConfigError);
  BOOST_CHECK_THROW(call(*make_svd_decomposer({.truncation = 7, .keep = {}}), 8), ConfigError);
  BOOST_CHECK_THROW(call(*make_kronecker_decomposer({3, 2, 1}), 8), ConfigError);
  BOOST_CHECK_THROW(call(*make_whitened_svd_decomposer({{.truncation = 2, .keep = {}}, 0.0}), 8), CollectiveError);
  BOOST_CHECK_THROW(
      call(*make_whitened_svd_decomposer({{.truncation = 2, .keep = {}}, 0.0, Weighting::two_sided}), 8), CollectiveError);
  BOOST_CHECK_THROW(call(*svd, 8 + world.size()), CollectiveError);
  w.values<float>()[47] = std::numeric_limits<float>::quiet_NaN();
  BOOST_CHECK_EXCEPTION(call(*svd, 8), CollectiveError, [](const CollectiveError& error) {
    return error.cause() == CollectiveError::Cause::data &&
           std::string(error.what()).find("weight [7, 5]") != std::string::npos;
  });
}

BOOST_AUTO_TEST_SUITE_END()
