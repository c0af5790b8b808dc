#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "tests/analysis/report_fixture.hpp"

using namespace kronlab;
using namespace kronlab::storage;
using namespace kronlab::testing;
using Json = nlohmann::json;

namespace {

/// Another process does `work` on a run and ends there, as if it were killed.
template <class Work>
void in_killed_process(Work work) {
  const pid_t child = ::fork();
  BOOST_REQUIRE(child >= 0);
  if (child == 0) {
    work();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  BOOST_REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(report_attempts)

BOOST_AUTO_TEST_CASE(show_has_every_attempt_with_how_it_ended) {
  const Store store;
  std::string id;
  {
    auto run = RunStore::create(store.path, sample_description());
    id = run.id();
    ::setenv("SLURM_JOB_ID", "4711", 1);
    run.attempt_started();
    ::unsetenv("SLURM_JOB_ID");
    run.set_state(RunState::failed, "no space left");
  }
  in_killed_process([&] {
    auto run = new RunStore(RunStore::open(store.path, id));
    run->attempt_started();
    run->set_state(RunState::running);
  });
  const auto states = [&] {
    std::vector<std::string> all;
    const Json json = Json::parse(store.report("show --json " + id).out);
    for (const auto& attempt : json["attempts"]) all.push_back(attempt["state"]);
    return all;
  };
  BOOST_TEST((states() == std::vector<std::string>{"failed", "lost"}));
  auto run = RunStore::open(store.path, id);
  run.attempt_started();
  run.set_state(RunState::running);
  BOOST_TEST((states() == std::vector<std::string>{"failed", "lost", "running"}));
  run.set_state(RunState::done);
  const Json attempts = Json::parse(store.report("show --json " + id).out)["attempts"];
  BOOST_REQUIRE(attempts.size() == 3u);
  BOOST_TEST(attempts[0]["number"] == 1);
  BOOST_TEST(attempts[0]["slurm_job"] == "4711");
  BOOST_TEST(attempts[0]["reason"] == "no space left");
  BOOST_TEST(attempts[0]["ended"].get<std::string>().ends_with("Z"));
  BOOST_TEST(attempts[1]["ended"].is_null());
  BOOST_TEST(attempts[1]["reason"] == "its process is gone");
  BOOST_TEST(attempts[2]["state"] == "done");
  BOOST_TEST(attempts[2]["slurm_job"].is_null());
  BOOST_TEST(attempts[2]["process"].get<std::string>().ends_with("process " + std::to_string(::getpid())));
  const Output text = store.report("show " + id);
  for (const char* words : {"Attempts", "4711", "no space left", "its process is gone"}) BOOST_TEST(text.has(words));
}

BOOST_AUTO_TEST_CASE(show_counts_the_evaluations_and_their_windows) {
  const Store store;
  const std::string id = finished_run(store.path, labelled("a", "1"), 30.0);
  BOOST_TEST(store.report("show " + id).out.find("Evaluations with") == std::string::npos);
  auto run = RunStore::open(store.path, id);
  run.record_evaluation({-1, 0, "prose", short_protocol, "a1", {{10, 1}, {10, 2}}});
  run.record_evaluation({0, 7, "news", other_protocol, "b2", {{10, 1}, {10, 2}, {5, 3}}});
  run.set_state(RunState::done);
  const Json evaluations = Json::parse(store.report("show --json " + id).out)["evaluations"];
  BOOST_REQUIRE(evaluations.size() == 2u);
  BOOST_TEST(evaluations[0]["windows"] == 2);
  BOOST_TEST(evaluations[1]["windows"] == 3);
  BOOST_TEST(evaluations[1]["step"] == 7);
  BOOST_TEST(evaluations[1]["data_sha256"] == "b2");
  const Output text = store.report("show " + id);
  BOOST_TEST(text.has("Evaluations with the losses of windows: 2"));
  BOOST_TEST(text.has("news"));
}

BOOST_AUTO_TEST_SUITE_END()
