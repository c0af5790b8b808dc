#include "decompositions/permutation/search_run.hpp"

namespace kronlab::decompositions {
namespace {

class CoordinateAssignmentSearch final : public PermutationSearch {
 public:
  std::string_view kind() const override { return "coordinate-assignment"; }

 private:
  Convergence::Reason do_search(SearchRun& run, RandomStream) const override {
    run.start_sorted();
    settled(run, run.best(), reassign);
    return Convergence::Reason::converged;
  }
};

}  // namespace

std::unique_ptr<PermutationSearch> make_coordinate_assignment_search() {
  return std::make_unique<CoordinateAssignmentSearch>();
}

}  // namespace kronlab::decompositions
