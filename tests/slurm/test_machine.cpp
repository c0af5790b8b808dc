#include <boost/test/unit_test.hpp>

#include "framework/config/read_toml_file.hpp"
#include "slurm/machine.hpp"
#include "slurm/slurm_units.hpp"
#include "tests/support/contains.hpp"
#include "tests/support/message_of.hpp"
#include "tests/support/test_data.hpp"

using namespace kronlab;
using namespace kronlab::slurm;
using kronlab::testing::contains;
using kronlab::testing::message_of;

namespace {

std::string machines() {
  const char* root = std::getenv("KRONLAB_SOURCE_DIR");
  return std::string(root ? root : ".") + "/slurm/machines/";
}

Machine with(const std::string& lines) {
  const auto read = [&](const std::string& path) {
    return path == "site.toml" ? "include = \"base.toml\"\n" + lines : read_text_file(machines() + "base.toml");
  };
  return Machine::read(config::read_toml_file("site.toml", read));
}

std::string refusal(const std::string& lines) {
  return message_of([&] { with(lines); });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(machines_of_sites)

BOOST_AUTO_TEST_CASE(times_are_read_as_slurm_reads_them) {
  const std::pair<const char*, Index> times[] = {{"90", 5400},        {"90:30", 5430},        {"02:30:00", 9000}, {"1-12", 129600},
                                                 {"1-12:30", 131400}, {"1-12:30:15", 131415}, {"0", 0},           {"30:00:00", 108000}};
  for (const auto& [text, seconds] : times) BOOST_TEST(parse_time(text).value_or(-1) == seconds, text);
  for (const char* text : {"", "-", "1-", "a", "1:2:3:4", "1:", ":1", "-5", "1h", "infinite", "9999999999"}) BOOST_TEST(!parse_time(text), text);
  BOOST_TEST(time_text(131415) == "1-12:30:15");
  BOOST_TEST(time_text(9000) == "02:30:00");
  for (const Index seconds : {1, 59, 3600, 86399, 86400, 1234567}) BOOST_TEST(parse_time(time_text(seconds)).value() == seconds);
}

BOOST_AUTO_TEST_CASE(memory_is_read_as_slurm_reads_it) {
  const std::pair<const char*, Index> amounts[] = {{"4000", 4000}, {"4000M", 4000}, {"16G", 16384}, {"2T", 2097152}, {"512K", 1}};
  for (const auto& [text, mib] : amounts) BOOST_TEST(parse_memory(text).value_or(-1) == mib, text);
  for (const char* text : {"", "G", "16 GB", "-1", "1.5G", "16g"}) BOOST_TEST(!parse_memory(text), text);
  BOOST_TEST(memory_text(300) == "300 MiB");
  BOOST_TEST(memory_text(1536) == "1.5 GiB");
}

BOOST_AUTO_TEST_CASE(a_site_says_only_what_differs) {
  const auto base = with("");
  BOOST_TEST(base.ranks == 1);
  BOOST_TEST(base.launcher == "auto");
  BOOST_TEST(!base.time_s);
  BOOST_TEST(!base.node.is_complete());
  const auto site = with(
      "ranks = 6\nthreads = 2\nnodes = 2\ntime = \"1-00:00:00\"\nmemory = \"8G\"\npartition = \"long\"\nsetup = [\"module load openmpi\"]\n"
      "[node]\ncores = 8\nmemory = \"16G\"\ntime_limit = \"2-00:00:00\"\n");
  BOOST_TEST(site.ranks_per_node() == 3);
  BOOST_TEST(site.cores_per_node() == 6);
  BOOST_TEST(site.time_s.value() == 86400);
  BOOST_TEST(site.memory_mib.value() == 8192);
  BOOST_TEST(site.partition == "long");
  BOOST_TEST(site.setup.at(0) == "module load openmpi");
  BOOST_TEST(site.node.is_complete());
  BOOST_TEST(site.node.time_limit_s.value() == 172800);
  BOOST_TEST(site.signal_s == base.signal_s);
  BOOST_TEST(!site.has_rates);
  BOOST_TEST(with("[rates]\ngemm_fp32_gflops = 50.0\n").has_rates);
}

BOOST_AUTO_TEST_CASE(the_machine_files_of_the_tree_can_be_read) {
  for (const char* name : {"base.toml", "example.toml"}) BOOST_CHECK_NO_THROW(Machine::read(config::read_toml_file(machines() + name)));
}

BOOST_AUTO_TEST_CASE(what_is_wrong_is_told_with_its_place) {
  BOOST_TEST(contains(refusal("partitoin = \"a\"\n"), "site.toml:2:"), refusal("partitoin = \"a\"\n"));
  BOOST_TEST(contains(refusal("partitoin = \"a\"\n"), "unknown key 'partitoin' (did you mean 'partition'?)"));
  BOOST_TEST(contains(refusal("[node]\ncpus = 3\n"), "site.toml:3:"));
  BOOST_TEST(contains(refusal("ranks = 0\n"), "ranks: is 0"), refusal("ranks = 0\n"));
  BOOST_TEST(contains(refusal("nodes = 2\n"), "2 nodes for 1 rank(s)"));
  BOOST_TEST(contains(refusal("time = \"5 hours\"\n"), "time: '5 hours' is no time"), refusal("time = \"5 hours\"\n"));
  BOOST_TEST(contains(refusal("time = \"00:00:30\"\n"), "of a minute or more"));
  BOOST_TEST(contains(refusal("time = \"5\"\n"), "00:05:00 is not longer than signal_s, 300 seconds"));
  BOOST_TEST(contains(refusal("memory = \"16 GB\"\n"), "memory: '16 GB' is no amount of memory"));
  BOOST_TEST(contains(refusal("launcher = \"srn\"\n"), "did you mean 'srun'?"));
  BOOST_TEST(contains(refusal("account = \"a\\\"b\"\n"), "cannot stand in a job script"));
  BOOST_TEST(contains(refusal("setup = [\"a\\nb\"]\n"), "cannot stand in a job script"));
  BOOST_TEST(contains(refusal("scratch = \"`rm`\"\n"), "cannot stand in a job script"));
  BOOST_TEST(contains(refusal("time_margin = 0.5\n"), "time_margin"));
}

BOOST_AUTO_TEST_SUITE_END()
