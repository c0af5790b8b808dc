#include <boost/test/unit_test.hpp>
#include <limits>

#include "experiments/pipeline/budget_plan.hpp"
#include "tests/support/contains.hpp"
#include "tests/support/message_of.hpp"

using namespace kronlab;
using namespace kronlab::experiments;
using config::Value;
using kronlab::testing::contains;
using kronlab::testing::message_of;

namespace {

Value parsed(const std::string& toml) { return config::parse_toml(toml, "f.toml"); }

BudgetSpec budget_of(const std::string& toml) {
  return BudgetSpec::from(config::StrictTable(*config::value_at(parsed("[budget]\n" + toml), "budget"), "budget"));
}
std::string budget_error(const std::string& toml) {
  return message_of([&] { budget_of(toml); });
}

MeasuredChoice choice(const std::string& label, double keep, double kl, double bytes, double seconds = 0.0) {
  return {label, parsed(fmt::format("decompose = {{ kind = \"svd\", keep = {} }}\n", keep)), kl, bytes, seconds};
}

/// Three layers of 100 dense bytes; the second one bears least, the third one has no small form.
std::vector<MeasuredUnit> units() {
  return {{"layers.0.a", 0, {"layers.0.a"}, 100, 10, {choice("half", 0.5, 1, 50, 6), choice("tenth", 0.1, 2, 10, 2)}},
          {"layers.1.a", 1, {"layers.1.a"}, 100, 10, {choice("half", 0.5, 10, 50, 6), choice("tenth", 0.1, 40, 10, 2)}},
          {"layers.1.b", 1, {"layers.1.b"}, 100, 10, {choice("half", 0.5, 2, 50, 6)}}};
}

const std::string base = R"([experiment]
name = "profile"
seed = 3
[model]
path = "/m"
[data.calibration]
path = "/c.txt"
tokens = 2048
window = 64
[[evaluate]]
dataset = { path = "/e.txt" }
[[evaluate]]
dataset = { path = "/g.jsonl" }
protocol = { kind = "last-word", window = 64 }
[[stage]]
layers = ["layers.*"]
decompose = { kind = "svd", keep = 0.5 }
sensitivity = { path = "/s.txt", tokens = 1024, window = 64 }
[budget]
bytes = 0.5
)";
Value resolved_base() { return ExperimentSpec::read(parsed(base), "/").resolved; }

std::string choices_of(const BudgetPlan& plan) {
  std::string text;
  for (std::size_t u = 0; u < plan.units.size(); ++u) text += (plan.chosen(u) ? plan.chosen(u)->label : "dense") + " ";
  return text;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(budget_plan)

BOOST_AUTO_TEST_CASE(limits_are_shares_of_what_dense_units_take) {
  const auto plan = BudgetPlan::make(budget_of("bytes = 0.7"), units());
  BOOST_TEST(plan.problem.max_bytes.value() == 210, boost::test_tools::tolerance(1e-12));
  BOOST_TEST(!plan.problem.max_seconds);
  BOOST_TEST(choices_of(plan) == "tenth dense dense ");
  BOOST_TEST(plan.best.allocation.damage == 2);
  BOOST_TEST(plan.uniform->damage == 13);
  BOOST_TEST(plan.greedy->damage == 2);  // 1/50, then 1/40 for the rest of the first unit
  BOOST_TEST(choices_of(BudgetPlan::make(budget_of("megabytes = 250e-6"), units())) == "half dense dense ");
  const auto timed = BudgetPlan::make(budget_of("bytes = 0.9\ntime = 0.6"), units());
  BOOST_TEST(timed.problem.max_seconds.value() == 18, boost::test_tools::tolerance(1e-12));
  BOOST_TEST(choices_of(timed) == "tenth dense half ");
}

BOOST_AUTO_TEST_CASE(some_units_stay_dense_and_each_keeps_a_share) {
  const auto kept = BudgetPlan::make(budget_of("bytes = 0.7\nkeep_dense = [\"layers.0.*\"]"), units());
  BOOST_TEST(choices_of(kept) == "dense half half ");
  BOOST_TEST(kept.counts().at("half") == 2);
  const auto large = BudgetPlan::make(budget_of("bytes = 0.7\nat_least = 0.2"), units());
  BOOST_TEST(choices_of(large) == "half dense half ");
  BOOST_TEST(message_of([] {
               BudgetPlan::make(budget_of("bytes = 0.7\nkeep_dense = [\"layers.7.*\"]"), units());
             }).find("layers.7.*") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_unit_that_lacks_a_size_has_its_nearest_one_in_the_uniform_allocation) {
  const auto plan = BudgetPlan::make(budget_of("bytes = 0.25"), units());
  BOOST_TEST(plan.uniform->bytes == 70);
  BOOST_TEST(plan.uniform->damage == 44);
}

BOOST_AUTO_TEST_CASE(the_plan_is_an_experiment) {
  const auto plan = BudgetPlan::make(budget_of("bytes = 0.55"), units());
  BOOST_TEST(choices_of(plan) == "tenth dense half ");
  const std::string toml = plan_toml(plan, resolved_base(), nullptr, 128);
  BOOST_TEST(toml == plan_toml(plan, resolved_base(), nullptr, 128));
  const auto spec = ExperimentSpec::read(parsed(toml), "/elsewhere");
  BOOST_TEST(spec.name == "profile plan");
  BOOST_TEST(spec.seed == 3u);
  BOOST_TEST(spec.calibration->text.paths.front() == "/c.txt");
  BOOST_TEST(!spec.budget.has_value());
  BOOST_TEST_REQUIRE(spec.evaluations.size() == 3u);
  BOOST_TEST(spec.evaluations[0].divergence);
  BOOST_TEST(!spec.evaluations[1].divergence);  // last words
  const auto& profiled = spec.evaluations[2];
  BOOST_TEST(profiled.divergence);
  BOOST_TEST(profiled.path == "/s.txt");
  BOOST_TEST(profiled.protocol.window == 65);
  BOOST_TEST(profiled.protocol.stride == 64);
  BOOST_TEST(profiled.max_windows == 16);
  BOOST_TEST_REQUIRE(spec.stages.size() == 1u);
  BOOST_TEST(spec.stages[0].predicted_kl.value() == 4);
  BOOST_TEST(!spec.stages[0].sensitivity.has_value());
  BOOST_TEST_REQUIRE(spec.stages[0].parts.size() == 2u);
  BOOST_TEST(spec.stages[0].parts[0].layers == std::vector<std::string>{"layers.0.a"},
             boost::test_tools::per_element());
  BOOST_TEST(spec.stages[0].parts[1].layers == std::vector<std::string>{"layers.1.b"},
             boost::test_tools::per_element());
  BOOST_TEST(contains(toml, "# 1 unit(s) stay dense: layers.1.a\n"), toml);
  BOOST_TEST(
      contains(
          toml,
          "[[stage.part]]  # 1 unit(s): tenth\nlayers = [\"layers.0.a\"]\ndecompose = {keep = 0.1, kind = \"svd\"}\n"),
      toml);
  const auto in_short_context = ExperimentSpec::read(parsed(plan_toml(plan, resolved_base(), nullptr, 64)), "/");
  BOOST_TEST(in_short_context.evaluations[2].protocol.window == 64);
}

BOOST_AUTO_TEST_CASE(a_plan_is_trained_as_the_profile_s_file_says) {
  auto base = resolved_base();
  config::assign(base, "data.distillation.path", "/t.txt");
  const auto distill = parsed("tokens = 5000\nlr = 0.1\nlosses = { kl = 1.0 }\n");
  const auto toml = plan_toml(BudgetPlan::make(budget_of("bytes = 0.55"), units()), base, &distill, 128);
  const auto spec = ExperimentSpec::read(parsed(toml), "/");
  BOOST_TEST_REQUIRE(spec.stages[0].distill.has_value());
  BOOST_TEST(spec.stages[0].distill->tokens.value() == 5000);
  BOOST_TEST(spec.stages[0].parts.size() == 2u);
}

BOOST_AUTO_TEST_CASE(what_many_layers_share_is_one_part_and_all_dense_is_no_stage) {
  std::vector<MeasuredUnit> many;
  for (int i = 0; i < 40; ++i)
    many.push_back({fmt::format("layers.{}.a", i),
                    i,
                    {fmt::format("layers.{}.a", i), fmt::format("layers.{}.b", i)},
                    100,
                    0,
                    {choice("half", 0.5, 1, 50)}});
  const auto all = ExperimentSpec::read(
      parsed(plan_toml(BudgetPlan::make(budget_of("bytes = 0.5"), many), resolved_base(), nullptr, 128)), "/");
  BOOST_TEST_REQUIRE(all.stages.front().parts.size() == 1u);
  BOOST_TEST(all.stages.front().parts.front().layers.size() == 80u);
  const auto none = plan_toml(BudgetPlan::make(budget_of("bytes = 1.0"), many), resolved_base(), nullptr, 128);
  BOOST_TEST(ExperimentSpec::read(parsed(none), "/").stages.empty());
  BOOST_TEST(contains(none, "# 40 unit(s) stay dense: layers.0.a, "), none);
}

BOOST_AUTO_TEST_CASE(a_budget_that_says_nothing_or_too_much_or_cannot_be_met_is_refused) {
  BOOST_TEST(contains(budget_error(""), "nothing is limited: give bytes or time"), budget_error(""));
  BOOST_TEST(contains(budget_error("bytes = 0.5\nmegabytes = 3.0"),
                      "budget.megabytes: 'bytes' limits the same, give one of them"));
  BOOST_TEST(contains(budget_error("bytes = 1.5"), "budget.bytes"));
  BOOST_TEST(contains(budget_error("bytes = 0.5\nkeep_dense = [\"a{\"]"), "a{"));
  const auto message = [](const std::string& budget, const auto& change) {
    auto changed = units();
    change(changed);
    return message_of([&] { BudgetPlan::make(budget_of(budget), changed); });
  };
  const auto nothing = [](auto&) {};
  BOOST_TEST(message("bytes = 0.1", nothing) == "budget: 30 bytes cannot be met, the least possible are 70");
  BOOST_TEST(contains(message("time = 0.1", nothing), "seconds cannot be met, the least possible are 10"));
  BOOST_TEST(message("time = 0.5", [](auto& u) { u[1].choices[0].seconds = 0; }) ==
             "budget.time: no time of 'layers.1.a' was measured: runs with an [[evaluate]] measure it");
  BOOST_TEST(
      contains(message("bytes = 0.5", [](auto& u) { u[0].choices[1].kl = std::numeric_limits<double>::quiet_NaN(); }),
               "damage of nan"));
}

BOOST_AUTO_TEST_SUITE_END()
