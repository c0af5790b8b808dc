#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <limits>

#include "framework/base/nearest.hpp"
#include "framework/base/progress.hpp"
#include "framework/base/types.hpp"
#include "tests/support/message_of.hpp"

namespace kronlab {
namespace {

BOOST_AUTO_TEST_SUITE(base)

BOOST_AUTO_TEST_CASE(checked_casts_pass_what_fits_and_refuse_the_rest) {
  constexpr Index largest = std::numeric_limits<int>::max(), smallest = std::numeric_limits<int>::min();
  BOOST_TEST(checked_cast<int>(largest) == largest);
  BOOST_TEST(checked_cast<int>(smallest) == smallest);
  BOOST_CHECK_THROW(checked_cast<int>(largest + 1), ContractError);
  BOOST_CHECK_THROW(checked_cast<int>(smallest - 1), ContractError);
  BOOST_CHECK_THROW(checked_cast<int>(std::numeric_limits<std::uint64_t>::max()), ContractError);
  BOOST_CHECK_THROW(checked_cast<Index>(std::numeric_limits<std::uint64_t>::max()), ContractError);
  BOOST_CHECK_THROW(checked_cast<std::uint64_t>(Index{-1}), ContractError);
  BOOST_CHECK_THROW(checked_cast<unsigned>(-1), ContractError);
  BOOST_TEST(checked_cast<std::size_t>(Index{0}) == 0u);
  BOOST_TEST(testing::message_of([] { checked_cast<int>(largest + 1); }).find("2147483648") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(checked_products_refuse_overflow_and_negative_sizes) {
  constexpr Index largest = std::numeric_limits<Index>::max();
  BOOST_TEST(checked_product(3, 4, "x") == 12);
  BOOST_TEST(checked_product(0, largest, "x") == 0);
  BOOST_TEST(checked_product(1, largest, "x") == largest);
  BOOST_CHECK_THROW(checked_product(2, largest / 2 + 1, "x"), DataError);
  BOOST_CHECK_THROW(checked_product(Index{1} << 32, Index{1} << 32, "x"), DataError);
  BOOST_CHECK_THROW(checked_product(-1, 4, "x"), DataError);
  BOOST_CHECK_THROW(checked_product(-2, -3, "x"), DataError);
  BOOST_TEST(
      testing::message_of([] { checked_product(-1, 4, "rows of wte"); }).starts_with("rows of wte: size -1 x 4"));
}

BOOST_AUTO_TEST_CASE(a_misspelt_name_is_recognised_if_it_is_near) {
  const std::vector<std::string> names = {"num_terms", "rank", "kind", "left_rows", "left_cols"};
  BOOST_TEST(nearest_name("num_terms", names) == "num_terms");
  BOOST_TEST(nearest_name("num_term", names) == "num_terms");
  BOOST_TEST(nearest_name("nmu_terms", names) == "num_terms");  // neighbours exchanged: one step
  BOOST_TEST(nearest_name("rnak", names) == "rank");
  BOOST_TEST(nearest_name("left_rwos", names) == "left_rows");
  BOOST_TEST(nearest_name("something", names).empty());
  BOOST_TEST(nearest_name("rang", names) == "rank");
  BOOST_TEST(nearest_name("lint", names).empty());  // two steps from kind, of four letters
  BOOST_TEST(nearest_name("rank", std::vector<std::string>()).empty());
  BOOST_TEST(did_you_mean("rnak", names) == " (did you mean 'rank'?)");
  BOOST_TEST(did_you_mean("something", names).empty());
}

BOOST_AUTO_TEST_CASE(durations_are_told_in_their_two_largest_units) {
  BOOST_TEST(format_duration(0) == "0.0 s");
  BOOST_TEST(format_duration(4.24) == "4.2 s");
  BOOST_TEST(format_duration(10) == "10 s");
  BOOST_TEST(format_duration(59.4) == "59 s");
  BOOST_TEST(format_duration(59.6) == "1 min 00 s");
  BOOST_TEST(format_duration(187) == "3 min 07 s");
  BOOST_TEST(format_duration(3599.7) == "1 h 00 min");
  BOOST_TEST(format_duration(7505) == "2 h 05 min");
  BOOST_TEST(format_duration(90000) == "25 h 00 min");
}

BOOST_AUTO_TEST_CASE(errors_have_their_exit_codes) {
  using Cause = CollectiveError::Cause;
  BOOST_TEST((exit_code(ConfigError("")) == ExitCode::usage));
  BOOST_TEST((exit_code(DataError("")) == ExitCode::usage));
  BOOST_TEST((exit_code(CollectiveError(Cause::config, "")) == ExitCode::usage));
  BOOST_TEST((exit_code(CollectiveError(Cause::data, "")) == ExitCode::usage));
  BOOST_TEST((exit_code(CollectiveError(Cause::contract, "")) == ExitCode::failed));
  BOOST_TEST((exit_code(CollectiveError(Cause::environment, "")) == ExitCode::failed));
  BOOST_TEST((exit_code(StorageError("")) == ExitCode::failed));
  BOOST_TEST((exit_code(ContractError("")) == ExitCode::failed));
  BOOST_TEST((exit_code(std::runtime_error("")) == ExitCode::failed));
}

BOOST_AUTO_TEST_CASE(a_broken_precondition_names_itself_its_place_and_the_values) {
  const auto message = testing::message_of([] { KRONLAB_EXPECTS(1 > 2, "found {}", 17); });
  for (const char* part : {"test_base.cpp:", "1 > 2", "found 17"})
    BOOST_TEST(message.find(part) != std::string::npos, message);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace kronlab
