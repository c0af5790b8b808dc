#include <algorithm>
#include <boost/test/unit_test.hpp>

#include "framework/base/progress.hpp"
#include "tests/analysis/report_fixture.hpp"

using namespace kronlab;
using namespace kronlab::storage;
using namespace kronlab::testing;

namespace {

std::size_t num_lines(const std::string& text) { return static_cast<std::size_t>(std::ranges::count(text, '\n')); }

/// A run of two attempts, the first with words.
struct TwoAttempts : Store {
  std::string id;
  TwoAttempts() {
    auto run = RunStore::create(path, sample_description());
    id = run.id();
    log_to_file(attempt_log_path(run.folder(), run.attempt_started()).string());
    log_info("loading the model");
    log_quietly("only for the file");
    log_to_file("");
    log_quietly("for nobody");
    run.set_state(RunState::failed, "no space left");
    run.attempt_started();
    run.set_state(RunState::done);
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(report_log)

BOOST_FIXTURE_TEST_CASE(log_has_the_words_of_every_attempt_below_how_it_ended, TwoAttempts) {
  const Output all = report("log " + id);
  BOOST_TEST(all.exit_code == 0, all.err);
  BOOST_TEST(num_lines(all.out) == 5u, all.out);
  for (const char* words : {"== attempt 1: ", "failed: no space left\n", "Z  loading the model\n", "Z  only for the file\n", "== attempt 2: ", "(no words)"})
    BOOST_TEST(all.has(words));
  BOOST_TEST(all.out.find("for nobody") == std::string::npos);
  const Output first = report("log --attempt 1 " + id);
  BOOST_TEST(num_lines(first.out) == 2u);
  BOOST_TEST(first.out.substr(4, 1) == "-");  // 2026-11-24T05:13:00Z
  BOOST_TEST(first.out.substr(10, 1) == "T");
}

BOOST_FIXTURE_TEST_CASE(log_ends_with_the_last_lines_when_asked, TwoAttempts) {
  const Output last = report("log --attempt 1 --lines 1 " + id);
  BOOST_TEST(num_lines(last.out) == 1u);
  BOOST_TEST(last.has("only for the file"));
  BOOST_TEST(num_lines(report("log --lines 100 " + id).out) == 5u);
}

BOOST_FIXTURE_TEST_CASE(log_says_what_is_not_there, TwoAttempts) {
  BOOST_TEST(report("log --attempt 2 " + id).exit_code == 2);
  BOOST_TEST(report("log --attempt 2 " + id).has("attempt 2 of run " + id + " left no words"));
  BOOST_TEST(report("log --attempt 3 " + id).has("has 2 attempts, expected --attempt to be one of them, found 3"));
  BOOST_TEST(report("log --attempt 0 " + id).exit_code == 2);
  BOOST_TEST(report("log nothing").exit_code == 2);
  const std::string untouched = RunStore::create(path, labelled("b", "1")).id();
  BOOST_TEST(report("log " + untouched).has("it has no attempt"));
}

BOOST_AUTO_TEST_SUITE_END()
