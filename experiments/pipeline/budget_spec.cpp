#include "experiments/pipeline/budget_spec.hpp"

#include "experiments/pipeline/distill_spec.hpp"

namespace kronlab::experiments {

BudgetSpec BudgetSpec::from(const config::StrictTable& table) {
  BudgetSpec spec;
  spec.bytes = table.find_number("bytes", {.least = 0.0, .most = 1.0});
  spec.megabytes = table.find_number("megabytes", {.least = 0.0});
  spec.time = table.find_number("time", {.least = 0.0, .most = 10.0});
  if (spec.bytes && spec.megabytes) table.fail("megabytes", "'bytes' limits the same, give one of them");
  if (!spec.bytes && !spec.megabytes && !spec.time) {
    table.fail("", "nothing is limited: give bytes or time, as shares of what dense units take, or megabytes");
  }
  if (table.has("keep_dense")) spec.keep_dense = patterns_from(table, "keep_dense");
  spec.at_least = table.number("at_least", spec.at_least, {.least = 0.0, .most = 1.0});
  spec.gap = table.number("gap", spec.gap, {.least = 0.0, .most = 1.0});
  return spec;
}

}  // namespace kronlab::experiments
