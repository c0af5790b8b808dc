// What the record learns from Slurm's programs; others that say what they say stand in for them here, the real ones in tests/slurm.
#include <boost/test/unit_test.hpp>
#include <filesystem>

#include "framework/base/hash.hpp"
#include "framework/storage/slurm.hpp"
#include "tests/support/fake_program.hpp"

using namespace kronlab;
using namespace kronlab::storage;
using namespace kronlab::testing;

BOOST_AUTO_TEST_SUITE(slurm)

BOOST_AUTO_TEST_CASE(jobs_are_read_with_the_cells_of_their_task) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "cells", "aa,bb\ncc\n");
  write_file_atomically(folder / "labels", "svd seed=0\tsvd seed=1\nkronecker\n");
  const auto jobs = queued_jobs(fmt::format("17|15|1|RUNNING|None|node2|node[3-4]|1:02:03|kronlab:{0}\n"
                                            "15|15|2|PENDING|Resources|||1:00:00|kronlab:{0}\n"
                                            "15|15|3|PENDING|Resources|||1:00:00|kronlab:{0}\n"
                                            "16|16|N/A|PENDING|Dependency|||10:00|kronlab:{0}\n"
                                            "20|20|1|RUNNING|None|node1||5:00|kronlab:/nowhere\n"
                                            "21|21|N/A|RUNNING|None|node1||5:00|\n"
                                            "no job at all\n",
                                            folder.path().string()));
  BOOST_TEST_REQUIRE(jobs.size() == 6u);
  BOOST_TEST(jobs[0].id == "17");
  BOOST_TEST(jobs[0].name == "15_1");
  BOOST_TEST(jobs[0].state == "RUNNING");
  BOOST_TEST(jobs[0].nodes == "node2");
  BOOST_TEST(jobs[0].excluded == "node[3-4]");
  BOOST_TEST(jobs[0].time_left == "1:02:03");
  BOOST_TEST((jobs[0].cells == std::vector<std::string>{"aa", "bb"}));
  BOOST_TEST((jobs[0].labels == std::vector<std::string>{"svd seed=0", "svd seed=1"}));
  BOOST_TEST(jobs[1].reason == "Resources");
  BOOST_TEST((jobs[1].cells == std::vector<std::string>{"cc"}));
  for (std::size_t i = 2; i < jobs.size(); ++i) BOOST_TEST(jobs[i].cells.empty());
  BOOST_TEST(jobs[3].name == "16");
}

BOOST_AUTO_TEST_CASE(where_slurm_is_not_there_or_fails_nothing_is_known) {
  const FakePrograms programs;
  programs.write("squeue", "exit 1");
  programs.write("sacct", "exit 1");
  BOOST_TEST(!slurm_queue());
  BOOST_TEST(slurm_end_of("17").empty());
  BOOST_TEST(!slurm_job_is_gone("17"));
  programs.write("squeue", "echo '17|17|N/A|RUNNING|None|node1||5:00|'");
  const auto queue = slurm_queue();
  BOOST_TEST_REQUIRE(queue.has_value());
  BOOST_TEST(queue->at(0).id == "17");
}

BOOST_AUTO_TEST_CASE(a_job_is_gone_once_squeue_says_so) {
  const FakePrograms programs;
  programs.write("squeue", "echo RUNNING");
  BOOST_TEST(!slurm_job_is_gone("17"));
  programs.write("squeue", "exit 0");
  BOOST_TEST(slurm_job_is_gone("17"));
  programs.write("squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1");
  BOOST_TEST(slurm_job_is_gone("17"));
  programs.write("squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1");
  BOOST_TEST(!slurm_job_is_gone("17"));
  BOOST_TEST(!slurm_job_is_gone(""));
}

BOOST_AUTO_TEST_CASE(accounting_says_how_a_job_ended) {
  const FakePrograms programs;
  programs.write("sacct", "echo 'NODE_FAIL|1:0|node[1-2]'");
  BOOST_TEST(slurm_end_of("17") == "NODE_FAIL, exit code 1:0 on node[1-2]");
  programs.write("sacct", "echo 'COMPLETED|0:0|node1'");
  BOOST_TEST(slurm_end_of("17") == "COMPLETED on node1");
  programs.write("sacct", "exit 0");
  BOOST_TEST(slurm_end_of("17").empty());
  BOOST_TEST(slurm_end_of("17; true").empty());
}

BOOST_AUTO_TEST_SUITE_END()
