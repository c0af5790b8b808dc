// The best allocation of a budget over the layers of a model, against greedy and uniform ones and the bound: random
// problems of 210 units with 12 choices, limited in bytes, in bytes and seconds.
//
//   bench_budget [UNITS [CHOICES [PROBLEMS [GAP]]]]

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "decompositions/budget/best_allocation.hpp"
#include "decompositions/budget/simple_allocations.hpp"
#include "tests/bench/measurement.hpp"
#include "tests/decompositions/budget_problems.hpp"

using namespace kronlab;
using namespace kronlab::decompositions;
using testing::Damages;

namespace {

double share_of(const std::optional<Allocation>& simple, const Allocation& best) {
  return simple ? simple->damage / best.damage : std::nan("");
}

void measure(const testing::RandomBudget& random, const char* name, std::uint64_t num_problems, double gap) {
  std::vector<double> times, gaps, greedy, uniform;
  for (std::uint64_t i = 0; i < num_problems; ++i) {
    const auto problem = random.problem(RandomStream(i));
    const auto start = std::chrono::steady_clock::now();
    const auto best = best_allocation(problem, {.gap = gap});
    times.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    gaps.push_back(best.gap);
    greedy.push_back(share_of(greedy_allocation(problem), best.allocation));
    uniform.push_back(share_of(uniform_allocation(problem), best.allocation));
  }
  std::printf("%-10s %-17s  %6.3f s %6.3f s  %8.1e  %8.4f  %8.4f\n", name,
              random.limits_seconds ? "bytes and seconds" : "bytes", bench::median(times),
              *std::ranges::max_element(times), *std::ranges::max_element(gaps), bench::median(greedy),
              bench::median(uniform));
}

}  // namespace

int main(int argc, char** argv) {
  testing::RandomBudget random;
  if (argc > 1) random.num_units = static_cast<std::size_t>(std::atol(argv[1]));
  if (argc > 2) random.num_choices = static_cast<std::size_t>(std::atol(argv[2]));
  const auto num_problems = static_cast<std::uint64_t>(argc > 3 ? std::atol(argv[3]) : 10);
  const double gap = argc > 4 ? std::atof(argv[4]) : 1e-3;
  std::printf("%zu units, %zu choices, %lu problems each; damage of the others as a multiple of the best one's\n",
              random.num_units, random.num_choices, static_cast<unsigned long>(num_problems));
  std::printf("%-10s %-17s  %8s %8s  %8s  %8s  %8s\n", "damage", "limits", "median", "longest", "worst gap", "greedy",
              "uniform");
  for (const auto& [damages, name] : {std::pair{Damages::measured, "measured"},
                                      {Damages::correlated, "correlated"},
                                      {Damages::unrelated, "unrelated"}}) {
    for (const bool both : {false, true}) {
      random.damages = damages, random.limits_seconds = both;
      measure(random, name, num_problems, gap);
    }
  }
  return 0;
}
