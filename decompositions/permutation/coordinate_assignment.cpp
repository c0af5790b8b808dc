#include "decompositions/permutation/search_run.hpp"

namespace kronlab::decompositions {
namespace {

class CoordinateAssignmentSearch final : public PermutationSearch {
 public:
  std::string_view kind() const override { return "coordinate-assignment"; }

 private:
  SearchResult do_search(const PermutationObjective& objective, RandomStream, const SearchBudget& budget) const override {
    SearchRun run(objective, budget);
    run.start_sorted();
    settled(run, run.best(), reassign);
    return std::move(run).result(Convergence::Reason::converged);
  }
};

}  // namespace

std::unique_ptr<PermutationSearch> make_coordinate_assignment_search() {
  return std::make_unique<CoordinateAssignmentSearch>();
}

}  // namespace kronlab::decompositions
