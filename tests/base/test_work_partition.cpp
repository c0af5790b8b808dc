#include <omp.h>

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <optional>

#include "framework/comm/machine.hpp"
#include "framework/comm/work_partition.hpp"
#include "tests/support/message_of.hpp"

namespace kronlab::comm {
namespace {

std::vector<int> owners(std::span<const double> costs, int size) {
  const WorkPartition partition(costs, size);
  std::vector<int> result;
  for (std::size_t i = 0; i < costs.size(); ++i) result.push_back(partition.owner(static_cast<Index>(i)));
  return result;
}

/// OMP_NUM_THREADS with another value for the length of a scope.
class ThreadsAsked {
 public:
  explicit ThreadsAsked(const char* value) {
    if (const char* before = std::getenv("OMP_NUM_THREADS")) before_ = before;
    set(value);
  }
  ~ThreadsAsked() { set(before_ ? before_->c_str() : nullptr); }
  ThreadsAsked(const ThreadsAsked&) = delete;
  ThreadsAsked& operator=(const ThreadsAsked&) = delete;

 private:
  static void set(const char* value) {
    if (value) {
      setenv("OMP_NUM_THREADS", value, 1);
    } else {
      unsetenv("OMP_NUM_THREADS");
    }
  }
  std::optional<std::string> before_;
};

BOOST_AUTO_TEST_SUITE(work_partition)

BOOST_AUTO_TEST_CASE(the_longest_item_goes_first_to_the_least_loaded_rank) {
  const double costs[] = {1, 7, 3, 5, 4};  // 7 to 0; 5 to 1; 4 to 1 (5 < 7), then 3 to 0 (7 < 9), 1 to 1 (9 < 10)
  BOOST_TEST(owners(costs, 2) == (std::vector<int>{1, 0, 0, 1, 1}), boost::test_tools::per_element());
  BOOST_TEST(WorkPartition(costs, 2).imbalance() == 1.0);
  const std::vector<Index> first = {1, 2}, second = {0, 3, 4};
  BOOST_TEST(WorkPartition(costs, 2).items_of(0) == first, boost::test_tools::per_element());
  BOOST_TEST(WorkPartition(costs, 2).items_of(1) == second, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(ties_go_by_the_lowest_index) {
  const double costs[] = {2, 2, 2, 2, 2};
  BOOST_TEST(owners(costs, 3) == (std::vector<int>{0, 1, 2, 0, 1}), boost::test_tools::per_element());
  BOOST_TEST(WorkPartition(costs, 3).imbalance() == 4.0 / (10.0 / 3.0), boost::test_tools::tolerance(1e-15));
}

BOOST_AUTO_TEST_CASE(more_ranks_than_items_no_items_and_no_costs_are_fine) {
  const double costs[] = {1, 2};
  BOOST_TEST(owners(costs, 5) == (std::vector<int>{1, 0}), boost::test_tools::per_element());
  BOOST_TEST(WorkPartition(costs, 5).items_of(4).empty());
  BOOST_TEST(owners({}, 3).empty());
  BOOST_TEST(WorkPartition({}, 3).imbalance() == 1.0);
  const double nothing[] = {0, 0};
  BOOST_TEST(WorkPartition(nothing, 2).imbalance() == 1.0);
  BOOST_CHECK_THROW(WorkPartition(costs, 0), ContractError);
}

BOOST_AUTO_TEST_CASE(the_last_rank_is_done_earlier_than_longest_first_alone_would_have_it) {
  const double costs[] = {7, 7, 6, 6, 5, 5, 4, 4, 4};  // longest first: 15 of 48 on 4 ranks
  BOOST_TEST(WorkPartition(costs, 4).imbalance() == 1.0);
  const double two[] = {3, 3, 2, 2, 2};  // longest first: 7
  BOOST_TEST(WorkPartition(two, 2).imbalance() == 1.0);
  BOOST_TEST(owners(two, 2)[0] == owners(two, 2)[1]);
}

BOOST_AUTO_TEST_CASE(ranks_get_work_by_their_speed) {
  const double costs[] = {4, 4, 4, 4, 4, 4};
  const double equal[] = {1, 1, 1}, uneven[] = {1, 0.5, 1.5};
  BOOST_TEST(partition_by_speed(costs, equal) == owners(costs, 3), boost::test_tools::per_element());
  std::vector<int> counts(3);
  for (const int rank : partition_by_speed(costs, uneven)) ++counts[static_cast<std::size_t>(rank)];
  BOOST_TEST(counts == (std::vector<int>{2, 1, 3}), boost::test_tools::per_element());
  BOOST_TEST(partition_by_speed({}, uneven).empty());
  BOOST_CHECK_THROW(partition_by_speed(costs, {}), ContractError);
  const double standing[] = {1, 0};
  BOOST_CHECK_THROW(partition_by_speed(costs, standing), ContractError);
}

BOOST_AUTO_TEST_CASE(threads_are_those_asked_for_or_the_cores_of_the_rank) {
  const Communicator alone(MPI_COMM_SELF);
  {
    const ThreadsAsked none(nullptr);
    const int threads = threads_per_rank(alone, Oversubscription::refused);
    BOOST_TEST(threads >= 1);
    BOOST_TEST(threads <= omp_get_num_procs());
  }
  {
    const ThreadsAsked many("100000");
    BOOST_TEST(threads_per_rank(alone, Oversubscription::allowed) == 100000);
    BOOST_CHECK_THROW(threads_per_rank(alone, Oversubscription::refused), CollectiveError);
    const auto message = testing::message_of([&] { threads_per_rank(alone, Oversubscription::refused); });
    for (const char* part : {"100000 thread(s)", "OMP_NUM_THREADS", "--oversubscribe"})
      BOOST_TEST(message.find(part) != std::string::npos, message);
  }
  for (const char* wrong : {"0", "-2", "many"}) {
    const ThreadsAsked asked(wrong);
    BOOST_CHECK_THROW(threads_per_rank(alone, Oversubscription::allowed), CollectiveError);
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace kronlab::comm
