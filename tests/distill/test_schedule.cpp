#include <boost/test/unit_test.hpp>
#include <cmath>
#include <nlohmann/json.hpp>

#include "distill/schedule.hpp"
#include "framework/base/hash.hpp"
#include "tests/support/message_of.hpp"
#include "tests/support/test_data.hpp"

namespace kronlab::distill {
namespace {

using testing::message_of;

constexpr double few_roundings = 8 * 0x1p-53;  // relative error of a product, a quotient, three sums and a cosine

config::StrictTable table_of(const std::string& toml) {
  return config::StrictTable(config::parse_toml(toml, "f.toml")).table("schedule");
}

Schedule schedule_of(const std::string& toml) {
  const auto table = table_of(toml);
  const Schedule schedule = Schedule::from(table);
  table.finish();
  return schedule;
}

std::vector<double> rates(const Schedule& schedule, double peak, Index num_steps) {
  std::vector<double> all;
  for (Index s = 0; s < num_steps; ++s) all.push_back(schedule.rate(peak, s, num_steps));
  return all;
}

void check_rates(const std::string& toml, double peak, const std::vector<double>& expected) {
  const auto found = rates(schedule_of(toml), peak, static_cast<Index>(expected.size()));
  for (std::size_t s = 0; s < expected.size(); ++s) {
    BOOST_TEST(std::abs(found[s] - expected[s]) <= few_roundings * peak,
               toml << ": step " << s << ": " << found[s] << " instead of " << expected[s]);
  }
}

BOOST_AUTO_TEST_SUITE(schedule)

BOOST_AUTO_TEST_CASE(a_cosine_with_warmup_is_that_of_the_golden_training_run) {
  // golden/tiny_gpt2/golden.json, written by ../shared/tools/make_golden.py with PyTorch
  KRONLAB_NEEDS_DATA(path, "golden/tiny_gpt2/golden.json");
  const auto expected =
      nlohmann::json::parse(read_text_file(path.string())).at("train").at("lr").get<std::vector<double>>();
  BOOST_REQUIRE(expected.size() == 10);
  check_rates("schedule = { kind = 'cosine', warmup = 3, final_ratio = 0.1 }", 3e-3, expected);
  check_rates("schedule = { kind = 'cosine', warmup_fraction = 0.3, final_ratio = 0.1 }", 3e-3, expected);
}

BOOST_AUTO_TEST_CASE(every_kind_has_the_rates_of_its_formula) {
  check_rates("schedule = { kind = 'constant', warmup = 4 }", 8, {2, 4, 6, 8, 8, 8});
  check_rates("schedule = { kind = 'linear' }", 1, {1, 0.75, 0.5, 0.25});
  check_rates("schedule = { kind = 'linear', warmup = 2, final_ratio = 0.5 }", 8, {4, 8, 8, 7, 6, 5});
  check_rates("schedule = { kind = 'cosine' }", 2, {2, 1 + std::sqrt(0.5), 1, 1 - std::sqrt(0.5)});
  check_rates("schedule = { kind = 'wsd', warmup = 2, decay_fraction = 0.5 }", 8, {4, 8, 8, 8, 8, 6, 4, 2});
  check_rates("schedule = { kind = 'wsd', decay_fraction = 0.5, decay = '1-sqrt', final_ratio = 0.5 }", 1,
              {1, 1, 1, 1, 1, 0.75, 1 - 0.5 * std::sqrt(0.5), 1 - 0.5 * std::sqrt(0.75)});
  check_rates("schedule = { kind = 'wsd', decay_fraction = 0 }", 1, {1, 1, 1});
  check_rates("schedule = { kind = 'wsd', decay_fraction = 1 }", 1, {1, 0.5});
}

BOOST_AUTO_TEST_CASE(no_rate_leaves_the_range_from_final_ratio_to_peak_after_warmup) {
  for (const char* kind : {"linear", "cosine", "wsd"}) {
    const auto s =
        schedule_of(fmt::format("schedule = {{ kind = '{}', warmup_fraction = 0.1, final_ratio = 0.1 }}", kind));
    const auto all = rates(s, 1, 101);
    for (std::size_t i = 10; i < all.size(); ++i) {
      BOOST_TEST(all[i] <= all[i - 1] + (i == 10 ? 1 : 0));
      BOOST_TEST(all[i] >= 0.1);
    }
    BOOST_TEST(all[10] == 1.0);
    BOOST_TEST(all.back() < 0.15);
  }
}

BOOST_AUTO_TEST_CASE(a_run_shorter_than_its_warmup_and_decay_is_a_configuration_error) {
  const auto wsd = schedule_of("schedule = { kind = 'wsd', warmup = 60, decay_fraction = 0.5 }");
  BOOST_TEST(message_of([&] { wsd.expect_fits(100); }) ==
             "schedule: 60 steps of warm-up and 50 of decay do not fit a run of 100 steps");
  BOOST_CHECK_NO_THROW(wsd.expect_fits(120));
  BOOST_TEST(message_of([] { schedule_of("schedule = { kind = 'cosine', warmup = 3 }").expect_fits(2); }) ==
             "schedule: 3 steps of warm-up do not fit a run of 2 steps");
  BOOST_CHECK_NO_THROW(schedule_of("schedule = { kind = 'cosine', warmup = 3 }").expect_fits(3));
  BOOST_CHECK_THROW(wsd.rate(1, 3, 3), ContractError);
  BOOST_CHECK_THROW(wsd.rate(1, -1, 3), ContractError);
}

BOOST_AUTO_TEST_CASE(what_the_table_says_wrongly_is_told_with_its_place) {
  const auto message = [](const std::string& rest) { return message_of([&] { schedule_of("[schedule]\n" + rest); }); };
  BOOST_TEST(message("kind = 'cosin'").find("f.toml:2:1: schedule.kind: ") == 0);
  BOOST_TEST(message("kind = 'cosin'").find("constant, linear, cosine, wsd") != std::string::npos);
  BOOST_TEST(message("kind = 'wsd'\ndecay = 'sqrt'").find("linear, 1-sqrt") != std::string::npos);
  BOOST_TEST((schedule_of("[schedule]\nwarmup = 1").kind == Schedule::Kind::constant));
  BOOST_TEST(message("kind = 'cosine'\nwarmup = -1") == "f.toml:3:1: schedule.warmup: is -1, expected 0 to 2147483647");
  BOOST_TEST(message("kind = 'cosine'\nwarmup = 1\nwarmup_fraction = 0.1") ==
             "f.toml:4:1: schedule.warmup_fraction: warmup is given too; expected one of them");
  BOOST_TEST(message("kind = 'cosine'\nfinal_ratio = 1.5") ==
             "f.toml:3:1: schedule.final_ratio: is 1.5, expected 0 to 1");
  BOOST_TEST(message("kind = 'constant'\nfinal_ratio = 0.5") ==
             "f.toml:3:1: schedule.final_ratio: means nothing for kind = \"constant\"");
  BOOST_TEST(message("kind = 'linear'\ndecay = 'linear'") ==
             "f.toml:3:1: schedule.decay: means nothing for kind = \"linear\"");
  BOOST_TEST(message("kind = 'cosine'\nwarmpu = 1").find("unknown key 'schedule.warmpu' (did you mean 'warmup'?)") !=
             std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace kronlab::distill
