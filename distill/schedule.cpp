#include "distill/schedule.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace kronlab::distill {
namespace {

Index steps_of(double fraction, Index num_steps) {
  return static_cast<Index>(std::llround(fraction * static_cast<double>(num_steps)));
}

Index warmup_steps(const Schedule& schedule, Index num_steps) {
  return schedule.warmup + steps_of(schedule.warmup_fraction, num_steps);
}

/// What is left of 1 where `done` of `all` steps have led to f: f + (1 - f) * shape(done / all).
template <class Shape>
double remainder(double f, Index done, Index all, Shape shape) {
  return f + (1 - f) * shape(static_cast<double>(done) / static_cast<double>(all));
}

void refuse(const config::StrictTable& table, std::string_view kind, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    if (table.has(key)) table.fail(key, fmt::format("means nothing for kind = \"{}\"", kind));
  }
}

}  // namespace

Schedule Schedule::from(const config::StrictTable& table) {
  static const std::vector<std::string> kinds{"constant", "linear", "cosine", "wsd"};
  static const std::vector<std::string> decays{"linear", "1-sqrt"};
  const auto position = [](const std::vector<std::string>& names, const std::string& name) {
    return static_cast<int>(std::ranges::find(names, name) - names.begin());
  };
  Schedule schedule;
  const std::string kind = table.choice("kind", kinds, "constant");
  schedule.kind = static_cast<Kind>(position(kinds, kind));
  if (table.has("warmup") && table.has("warmup_fraction")) {
    table.fail("warmup_fraction", "warmup is given too; expected one of them");
  }
  if (const auto fraction = table.find_number("warmup_fraction", {.least = 0, .most = 1})) {
    schedule.warmup_fraction = *fraction;
  } else {
    schedule.warmup = table.integer("warmup", 0, config::count_from(0));
  }
  if (schedule.kind == Kind::constant) {
    refuse(table, kind, {"final_ratio"});
  } else {
    schedule.final_ratio = table.number("final_ratio", schedule.final_ratio, {.least = 0, .most = 1});
  }
  if (schedule.kind == Kind::wsd) {
    schedule.decay_fraction = table.number("decay_fraction", schedule.decay_fraction, {.least = 0, .most = 1});
    schedule.decay = static_cast<Decay>(position(decays, table.choice("decay", decays, decays.front())));
  } else {
    refuse(table, kind, {"decay_fraction", "decay"});
  }
  return schedule;
}

void Schedule::expect_fits(Index num_steps) const {
  const Index warm = warmup_steps(*this, num_steps);
  const Index decaying = kind == Kind::wsd ? steps_of(decay_fraction, num_steps) : 0;
  if (warm > num_steps - decaying) {
    throw ConfigError(fmt::format("schedule: {} steps of warm-up{} do not fit a run of {} steps", warm,
                                  kind == Kind::wsd ? fmt::format(" and {} of decay", decaying) : "", num_steps));
  }
}

double Schedule::rate(double peak, Index step, Index num_steps) const {
  KRONLAB_EXPECTS(0 <= step && step < num_steps, "schedule: step {} of {}", step, num_steps);
  const Index warm = warmup_steps(*this, num_steps);
  if (step < warm) return peak * static_cast<double>(step + 1) / static_cast<double>(warm);
  switch (kind) {
    case Kind::constant:
      return peak;
    case Kind::linear:
      return peak * remainder(final_ratio, step - warm, num_steps - warm, [](double t) { return 1 - t; });
    case Kind::cosine:
      return peak * remainder(final_ratio, step - warm, num_steps - warm,
                              [](double t) { return 0.5 * (1 + std::cos(std::numbers::pi * t)); });
    case Kind::wsd:
      break;
  }
  const Index decaying = steps_of(decay_fraction, num_steps), stable_until = num_steps - decaying;
  if (step < stable_until) return peak;
  return peak * remainder(final_ratio, step - stable_until, decaying,
                          [this](double t) { return 1 - (decay == Decay::linear ? t : std::sqrt(t)); });
}

}  // namespace kronlab::distill
