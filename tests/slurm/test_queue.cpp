#include <boost/test/unit_test.hpp>
#include <filesystem>

#include "framework/base/hash.hpp"
#include "slurm/command.hpp"
#include "slurm/queue.hpp"
#include "tests/support/message_of.hpp"
#include "tests/support/test_data.hpp"

using namespace kronlab;
using namespace kronlab::slurm;

namespace {

namespace fs = std::filesystem;

}  // namespace

BOOST_AUTO_TEST_SUITE(queues)

BOOST_AUTO_TEST_CASE(a_queued_task_has_the_cells_of_its_line) {
  const kronlab::testing::TemporaryFolder folder;
  const fs::path store = folder.path() / "a store", other = folder.path() / "other";
  for (const auto& path : {store, other}) {
    fs::create_directories(path / "slurm" / "sweep-1");
    write_file_atomically((path / "slurm" / "sweep-1" / "cells").string(), path == store ? "aa,bb\ncc\n" : "dd\n");
  }
  const std::string ours = "kronlab:" + (store / "slurm" / "sweep-1").string();
  const auto cells = cells_of_queue("17|1|PENDING|" + ours + "\n17|2|RUNNING|" + ours + "\n" +  // a task each
                                        "18|N/A|PENDING|" + ours + "\n" +                       // the table
                                        "19|1|PENDING|kronlab:" + (other / "slurm" / "sweep-1").string() + "\n" +
                                        "20|1|PENDING|(null)\n21|1|PENDING|my|words\n" + "22|3|PENDING|" + ours + "\n",  // no such line
                                    store.string());
  BOOST_TEST(cells.size() == 3u);
  BOOST_TEST(cells.at("aa") == "17_1 (PENDING)");
  BOOST_TEST(cells.at("bb") == "17_1 (PENDING)");
  BOOST_TEST(cells.at("cc") == "17_2 (RUNNING)");
  BOOST_TEST(cells_of_queue("", store.string()).empty());
  fs::remove(store / "slurm" / "sweep-1" / "cells");
  BOOST_CHECK_THROW(cells_of_queue("17|1|PENDING|" + ours + "\n", store.string()), StorageError);
}

BOOST_AUTO_TEST_CASE(a_program_is_run_with_its_words_as_they_are) {
  const auto output = run_command({"sh", "-c", "printf '%s|' \"$@\"; echo words >&2; exit 7", "sh", "a b", "", "$HOME", "it's"});
  BOOST_TEST(output.exit_code == 7);
  BOOST_TEST(output.out == "a b||$HOME|it's|");
  BOOST_TEST(output.err == "words\n");
  const auto through_shell = run_command({"sh", "-c", quoted(std::vector<std::string>{"printf", "%s|", "a b", "", "$HOME", "it's", "x=1"})});
  BOOST_TEST(through_shell.out == "a b||$HOME|it's|x=1|");
  BOOST_TEST(run_command({"no-such-program-at-all"}).exit_code == 127);
  BOOST_TEST(run_command({"sh", "-c", "kill -9 $$"}).exit_code == 137);
  BOOST_TEST(run_command({"sh", "-c", "head -c 300000 /dev/zero"}).out.size() == 300000u);  // more than a pipe holds
}

BOOST_AUTO_TEST_SUITE_END()
