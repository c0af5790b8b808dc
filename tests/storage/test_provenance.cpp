#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <map>
#include <regex>

#include "framework/storage/provenance.hpp"

using namespace kronlab;
using namespace kronlab::storage;

BOOST_AUTO_TEST_CASE(provenance_says_where_a_run_comes_from) {
  ::setenv("SLURM_JOB_ID", "4711", 1);
  ::setenv("SLURM_JWT", "hidden", 1);
  ::setenv("KRONLAB_API_TOKEN", "hidden", 1);
  ::setenv("OMP_NUM_THREADS", "1", 1);
  ExecutionFacts facts;
  facts.command_line = {"kronlab", "run", "a file's.toml"};
  facts.rank_hosts = {"node1", "node1", "node2"};
  facts.threads_per_rank = 4;
  facts.mpi_library = "an MPI";
  facts.blas = "a BLAS";
  facts.more = {{"seed", "7"}};
  const NamedTexts texts = provenance(facts);
  const std::map<std::string, std::string> by_name(texts.begin(), texts.end());
  BOOST_TEST(by_name.size() == texts.size());
  BOOST_TEST(std::regex_match(by_name.at("source.commit"), std::regex("[0-9a-f]{40}|unknown")));
  BOOST_TEST(std::regex_match(by_name.at("source.dirty"), std::regex("yes|no|unknown")));
  BOOST_TEST((by_name.at("source.dirty") == "yes") == (by_name.at("source.diff_sha256").size() == 64));
  BOOST_TEST(by_name.at("build.compiler").find(__VERSION__) != std::string::npos);
  BOOST_TEST(by_name.at("build.flags").find("-march=") != std::string::npos);
  BOOST_TEST(by_name.at("library.mpi") == "an MPI");
  BOOST_TEST(by_name.at("library.blas") == "a BLAS");
  BOOST_TEST(by_name.at("library.hdf5").starts_with("1."));
  BOOST_TEST(by_name.at("library.sqlite").starts_with("3."));
  BOOST_TEST(!by_name.at("machine.cpu").empty());
  BOOST_TEST(by_name.at("execution.hosts") == "node1 x2, node2 x1");
  BOOST_TEST(by_name.at("execution.ranks") == "3");
  BOOST_TEST(by_name.at("execution.threads_per_rank") == "4");
  BOOST_TEST(std::stoi(by_name.at("execution.allowed_cores")) >= 1);
  BOOST_TEST(by_name.at("execution.command_line") == "kronlab run 'a file'\\''s.toml'");
  BOOST_TEST(by_name.at("seed") == "7");
  BOOST_TEST(by_name.at("environment.SLURM_JOB_ID") == "4711");
  BOOST_TEST(by_name.at("environment.OMP_NUM_THREADS") == "1");
  for (const auto& [name, text] : texts) BOOST_TEST(text != "hidden", name);
}
