#include <boost/test/unit_test.hpp>

#include "framework/base/hash.hpp"
#include "framework/base/progress.hpp"
#include "tests/support/small_file_system.hpp"

using namespace kronlab;
using namespace kronlab::testing;

BOOST_AUTO_TEST_SUITE(log_file)

BOOST_AUTO_TEST_CASE(a_full_disk_costs_words_and_nothing_else) {
  const SmallFileSystem disk(64);
  if (!disk.is_mounted()) {
    BOOST_TEST_MESSAGE("not run: no file system can be mounted here");
    return;
  }
  log_to_file(disk / "run.log");
  log_quietly("the first words");
  disk.fill();
  for (int i = 0; i < 100; ++i) BOOST_CHECK_NO_THROW(log_quietly("words for which there is no space, long enough that they fill a block " + std::string(200, 'x')));
  disk.free();
  log_quietly("the last words");
  log_to_file("");
  const auto said = read_text_file(disk / "run.log");
  BOOST_TEST(said.find("the first words") != std::string::npos);
  BOOST_TEST(said.find("the last words") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
