#include <boost/test/unit_test.hpp>

#include "slurm/partition.hpp"
#include "tests/support/contains.hpp"
#include "tests/support/message_of.hpp"

using namespace kronlab;
using namespace kronlab::slurm;
using kronlab::testing::contains;
using kronlab::testing::message_of;

namespace {

const std::string sinfo = "main*|64|256000+|1-00:00:00|20\nmain*|32|512000|1-00:00:00|4\nlong|64|256000|infinite|8\nempty|0|0|10:00|0\n";

/// What is said of `ranks` of `threads` on `nodes` with so much memory for a rank; "fits" if nothing is.
std::string said(Index ranks, Index threads, Index nodes, Index memory_mib, const Machine& base = {}) {
  Machine machine = base;
  machine.ranks = ranks, machine.threads = threads, machine.nodes = nodes;
  const auto text = message_of([&] { expect_fit(machine, parse_partition(sinfo, "main"), memory_mib, "seed=1"); });
  return text == "nothing was thrown" ? "fits" : text;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(partitions)

BOOST_AUTO_TEST_CASE(what_sinfo_says_is_read) {
  const auto main = parse_partition(sinfo, "");
  BOOST_TEST(main.name == "main");
  BOOST_TEST_REQUIRE(main.kinds.size() == 2u);
  BOOST_TEST(main.kinds[0].cores == 64);
  BOOST_TEST(main.kinds[0].memory_mib == 256000);
  BOOST_TEST(main.kinds[1].count == 4);
  BOOST_TEST(main.time_limit_s == 86400);
  const auto endless = parse_partition(sinfo, "long");
  BOOST_TEST(endless.kinds.size() == 1u);
  BOOST_TEST(endless.time_limit_s == 0);
  BOOST_TEST(contains(message_of([] { parse_partition(sinfo, "lang"); }), "no partition 'lang'"));
  BOOST_TEST(contains(message_of([] { parse_partition("a|1|1|1:00|1\n", ""); }), "no default partition: give --partition"));
}

BOOST_AUTO_TEST_CASE(a_machine_file_with_all_of_a_node_needs_no_sinfo) {
  Machine machine;
  machine.partition = "elsewhere";
  machine.node = {8, 16000, 3600};
  const auto partition = partition_of(machine);
  BOOST_TEST(partition.name == "elsewhere");
  BOOST_TEST(partition.kinds.at(0).cores == 8);
  BOOST_TEST(partition.time_limit_s == 3600);
}

BOOST_AUTO_TEST_CASE(what_fits_is_accepted_to_the_last_core_and_byte) {
  BOOST_TEST(said(16, 4, 1, 16000) == "fits");
  BOOST_TEST(said(1, 64, 1, 256000) == "fits");
  BOOST_TEST(said(1, 32, 1, 512000) == "fits");
  BOOST_TEST(said(24 * 64, 1, 24, 4000) == "--nodes is 24, but partition 'main' has 20 of enough cores: use fewer");
}

BOOST_AUTO_TEST_CASE(more_ranks_than_a_node_has_cores_are_refused) {
  BOOST_TEST(said(17, 4, 1, 1) ==
             "17 rank(s) per node of 4 thread(s) need 68 cores, but a node of partition 'main' has 64: use more --nodes, fewer --ranks, or fewer --threads");
  BOOST_TEST(said(33, 4, 2, 1) != "fits");
  BOOST_TEST(said(32, 4, 2, 1) == "fits");
}

BOOST_AUTO_TEST_CASE(more_memory_than_a_node_has_is_refused) {
  const auto text = said(16, 4, 1, 16001);
  BOOST_TEST(contains(text,
                      "run 'seed=1' needs 15.6 GiB per rank, 250.0 GiB for 16 rank(s) per node of 4 thread(s), but a node of partition 'main' with as many "
                      "cores has 250.0 GiB: "
                      "use more --nodes, or fewer --ranks"),
             text);
  BOOST_TEST(said(16, 4, 2, 16001) == "fits");
  BOOST_TEST(said(8, 4, 1, 64000) == "fits");  // on the four nodes with more memory
  Machine machine;
  machine.memory_mib = 1000;
  BOOST_TEST(contains(said(2, 1, 1, 501, machine), "but --memory (or `memory` of the machine file) is 1000 MiB: give more"));
  machine.memory_mib = 600000;
  BOOST_TEST(contains(said(2, 1, 1, 501, machine), "ask for less"));
}

BOOST_AUTO_TEST_CASE(more_time_than_the_partition_gives_is_refused) {
  Machine machine;
  machine.time_s = 86400;
  BOOST_TEST(said(1, 1, 1, 1, machine) == "fits");
  machine.time_s = 86460;
  const auto text = said(1, 1, 1, 1, machine);
  BOOST_TEST(
      contains(
          text,
          "--time (or `time` of the machine file) is 1-00:01:00, but partition 'main' allows 1-00:00:00: ask for no more; what takes longer is checkpointed"),
      text);
}

BOOST_AUTO_TEST_SUITE_END()
