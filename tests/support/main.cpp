// One main for every test program: MPI around Boost.Test; a case that fails on one rank ends the job, not hangs it.
#include <mpi.h>

#include <boost/test/tree/observer.hpp>
#include <boost/test/unit_test.hpp>

#include "tests/support/test_data.hpp"

namespace {

/// A rank that leaves a case early would leave the others in a collective: abort the job instead.
class AbortOnFailure : public boost::unit_test::test_observer {
 public:
  void test_unit_aborted(const boost::unit_test::test_unit&) override { abort_if_parallel(); }
  void assertion_result(boost::unit_test::assertion_result result) override {
    if (result == boost::unit_test::AR_FAILED) abort_if_parallel();
  }

 private:
  static void abort_if_parallel() {
    int size = 1;
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (size > 1) MPI_Abort(MPI_COMM_WORLD, 1);
  }
};

}  // namespace

int main(int argc, char** argv) {
  int provided = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
  AbortOnFailure observer;
  boost::unit_test::framework::register_observer(observer);
  int result = boost::unit_test::unit_test_main([] { return true; }, argc, argv);
  boost::unit_test::framework::deregister_observer(observer);
  if (result == 0 && kronlab::testing::any_skipped()) result = 77;
  MPI_Finalize();
  return result;
}
