#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cmath>
#include <ctime>
#include <thread>

#include "framework/base/random.hpp"
#include "framework/comm/tree_sum.hpp"

using namespace kronlab;
using namespace kronlab::comm;

BOOST_AUTO_TEST_SUITE(communicator)

BOOST_AUTO_TEST_CASE(sums_broadcasts_and_gathers_over_all_ranks) {
  const Communicator world(MPI_COMM_WORLD);
  BOOST_TEST(world.sum(Index{world.rank() + 1}) == Index{world.size()} * (world.size() + 1) / 2);
  BOOST_TEST(world.broadcast(world.is_root() ? std::string("text") : std::string()) == "text");
  const auto texts = world.all_gather(fmt::format("from {}", world.rank()));
  BOOST_REQUIRE(texts.size() == static_cast<std::size_t>(world.size()));
  for (int r = 0; r < world.size(); ++r) BOOST_TEST(texts[static_cast<std::size_t>(r)] == fmt::format("from {}", r));
}

BOOST_AUTO_TEST_CASE(a_failure_of_one_rank_is_thrown_on_all_with_its_message) {
  const Communicator world(MPI_COMM_WORLD);
  const int failing = world.size() - 1;
  const auto work = [&] {
    if (world.rank() == failing) throw DataError("broken");
  };
  BOOST_CHECK_EXCEPTION(coordinate(world, std::function<void()>(work)), CollectiveError, [&](const CollectiveError& error) {
    return std::string(error.what()).ends_with("broken") && exit_code(error) == ExitCode::usage;
  });
  BOOST_TEST(coordinate(world, [] { return 7; }) == 7);
}

BOOST_AUTO_TEST_CASE(ranks_sleep_while_root_works_and_learn_of_its_error) {
  const Communicator world(MPI_COMM_WORLD);
  const auto processor_s = [] { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; };
  const double started = processor_s();
  int num_done = 0;
  coordinate_root(world, [&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    ++num_done;
  });
  BOOST_TEST(num_done == (world.is_root() ? 1 : 0));
  BOOST_TEST(processor_s() - started < 0.1);
  BOOST_CHECK_EXCEPTION(coordinate_root(world, [] { throw DataError("broken"); }), CollectiveError, [](const CollectiveError& error) {
    return std::string(error.what()).ends_with("broken") && exit_code(error) == ExitCode::usage;
  });
}

BOOST_AUTO_TEST_CASE(a_tree_sum_has_the_same_bits_for_any_number_of_ranks) {
  const Communicator world(MPI_COMM_WORLD);
  for (const Index count : {1, 2, 5, 8, 13}) {
    const auto leaf = [](Index i) { return std::vector<double>{std::sin(static_cast<double>(i)) * 1e10, 1.0 / static_cast<double>(i + 1)}; };
    TreeSum distributed;
    const auto share = block_range(count, world.rank(), world.size());
    for (Index i = share.begin; i < share.end; ++i) distributed.push(i, leaf(i));
    const int owner = world.size() - 1;
    const auto sum = distributed.collect(world, owner);
    BOOST_TEST(sum.empty() == (world.rank() != owner));
    if (world.rank() != owner) continue;
    const Communicator alone(MPI_COMM_SELF);
    TreeSum serial;
    for (Index i = 0; i < count; ++i) serial.push(i, leaf(i));
    BOOST_TEST(sum == serial.collect(alone, 0));
  }
}

BOOST_AUTO_TEST_CASE(work_is_partitioned_completely_and_evenly) {
  RandomStream random(1);
  for (const int ranks : {1, 2, 3, 7, 40}) {
    std::vector<double> costs;
    for (int i = 0; i < 20; ++i) costs.push_back(1.0 + random.uniform());
    const WorkPartition partition(costs, ranks);
    Index items = 0;
    for (int r = 0; r < ranks; ++r) items += static_cast<Index>(partition.items_of(r).size());
    BOOST_TEST(items == 20);
    if (ranks <= 7) BOOST_TEST(partition.imbalance() < 4.0 / 3.0);  // Graham's bound for longest-first
    Index covered = 0;
    for (int r = 0; r < ranks; ++r) covered += block_range(20, r, ranks).size();
    BOOST_TEST(covered == 20);
  }
}

BOOST_AUTO_TEST_SUITE_END()
