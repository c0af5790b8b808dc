#include <unistd.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <thread>
#include <vector>

#include "framework/base/error.hpp"
#include "framework/base/hash.hpp"
#include "framework/storage/claim.hpp"
#include "framework/storage/run_database.hpp"
#include "tests/storage/bytes.hpp"
#include "tests/support/environment.hpp"
#include "tests/support/test_data.hpp"

using namespace kronlab;
using namespace kronlab::storage;
using namespace kronlab::testing;
using namespace std::chrono_literals;

namespace {

namespace fs = std::filesystem;

struct Store {
  TemporaryFolder folder;
  std::string path = folder.path().string();
  fs::path file = folder.path() / "claims" / "cell";

  /// A claim as another process has left it, with its last heartbeat so long ago.
  void leave(const std::string& process, const std::string& job, std::chrono::seconds age) const {
    fs::create_directories(file.parent_path());
    write_bytes(file, "0123456789abcdef\n" + process + "\n" + job + "\n");
    fs::last_write_time(file, fs::file_time_type::clock::now() - age);
  }
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(file.parent_path())) names.push_back(entry.path().filename().string());
    return names;
  }
};

const std::string gone = [] {  // this host, a process that does not exist any more
  const std::string own = this_process();
  return own.substr(0, own.find(' ')) + " 999999 1";
}();
const std::string elsewhere = "another-host 12 34";

ClaimOptions quick(bool job_is_gone = true) {
  return {0.01, 120.0, [job_is_gone](const std::string&) { return job_is_gone; }};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(claims)

BOOST_AUTO_TEST_CASE(a_cell_has_one_holder_until_it_lets_go) {
  const Store store;
  BOOST_TEST(holder_of(store.path, "cell").empty());
  {
    const auto first = Claim::take(store.path, "cell");
    BOOST_TEST_REQUIRE(first.has_value());
    BOOST_TEST(first->is_held());
    BOOST_TEST(!Claim::take(store.path, "cell").has_value());
    BOOST_TEST(Claim::take(store.path, "other").has_value());
    BOOST_TEST(holder_of(store.path, "cell").find(fmt::format("process {}", ::getpid())) != std::string::npos);
  }
  BOOST_TEST(store.files().empty());
  BOOST_TEST(Claim::take(store.path, "cell").has_value());
}

BOOST_AUTO_TEST_CASE(a_holder_that_is_gone_from_this_host_is_followed_at_once) {
  const Store store;
  store.leave(gone, "77", 0s);
  BOOST_TEST(holder_of(store.path, "cell").find("process 999999, Slurm job 77") != std::string::npos);
  BOOST_TEST(Claim::take(store.path, "cell", quick(false)).has_value());
  BOOST_TEST(store.files().empty());
}

BOOST_AUTO_TEST_CASE(a_holder_elsewhere_is_followed_when_its_heartbeat_is_old_and_its_job_is_gone) {
  const Store store;
  const auto is_taken = [&](const std::string& job, std::chrono::seconds age, bool job_is_gone) {
    store.leave(elsewhere, job, age);
    return Claim::take(store.path, "cell", quick(job_is_gone)).has_value();
  };
  BOOST_TEST(!is_taken("", 60s, true));
  BOOST_TEST(!is_taken("77", 60s, true));
  BOOST_TEST(!is_taken("77", 600s, false));
  BOOST_TEST(is_taken("77", 600s, true));
  BOOST_TEST(is_taken("", 600s, false));
}

BOOST_AUTO_TEST_CASE(a_later_incarnation_of_the_same_job_follows_at_once) {
  const Store store;
  const auto leave = [&](const std::string& process, int restart) {
    fs::create_directories(store.file.parent_path());
    write_bytes(store.file, "0123456789abcdef\n" + process + "\n77\n" + std::to_string(restart) + "\n");
  };
  const EnvironmentVariable job("SLURM_JOB_ID", "77"), restart("SLURM_RESTART_COUNT", "2");
  for (const auto& process : {elsewhere, this_process()}) {  // also one that still runs on this host
    leave(process, 2);
    BOOST_TEST(!Claim::take(store.path, "cell", quick(false)));
    leave(process, 1);
    BOOST_TEST((holder_state(store.path, "cell", quick(false)) == HolderState::gone));
    auto claim = Claim::take(store.path, "cell", quick(false));
    BOOST_TEST_REQUIRE(claim.has_value());
    BOOST_TEST(read_text_file(store.file.string()).ends_with("\n77\n2\n"));
  }
  const EnvironmentVariable other("SLURM_JOB_ID", "78");
  leave(elsewhere, 0);
  BOOST_TEST(!Claim::take(store.path, "cell", quick(false)));
}

BOOST_AUTO_TEST_CASE(a_host_of_the_same_name_is_another_machine) {
  const Store store;
  std::string process = this_process();
  process = process.substr(0, process.rfind(' ')) + " 00000000-1";  // name, number and start are this process's
  BOOST_TEST((process_state(this_process()) == ProcessState::alive));
  BOOST_TEST((process_state(process) == ProcessState::elsewhere));
  store.leave(process, "", 100s);
  BOOST_TEST(!Claim::take(store.path, "cell", quick()));
  store.leave(process, "", 200s);
  BOOST_TEST(Claim::take(store.path, "cell", quick()).has_value());
}

BOOST_AUTO_TEST_CASE(one_whose_clock_is_an_hour_off_is_followed_and_knows_it) {
  const Store store;
  auto late = Claim::take(store.path, "cell", {1.0, 120.0, [](const std::string&) { return true; }});
  BOOST_TEST_REQUIRE(late.has_value());
  // As another host sees it whose file system takes times from its clients.
  std::string text = read_text_file(store.file.string());
  text.replace(text.find(this_process()), this_process().size(), elsewhere);
  write_bytes(store.file, text);
  fs::last_write_time(store.file, fs::file_time_type::clock::now() - 1h);
  const auto follower = Claim::take(store.path, "cell", quick());
  BOOST_TEST_REQUIRE(follower.has_value());
  for (int i = 0; i < 200 && late->is_held(); ++i) std::this_thread::sleep_for(20ms);
  BOOST_TEST(!late->is_held());
  late.reset();
  BOOST_TEST(follower->is_held());
  BOOST_TEST(!Claim::take(store.path, "cell", quick()));
}

BOOST_AUTO_TEST_CASE(what_is_no_claim_is_one_until_it_is_old) {
  const Store store;
  for (const char* text : {"", "one line\n", "two\nlines\n"}) {
    store.leave(elsewhere, "", 0s);
    write_bytes(store.file, text);
    BOOST_TEST(!Claim::take(store.path, "cell", quick()).has_value());
    fs::last_write_time(store.file, fs::file_time_type::clock::now() - 10min);
    BOOST_TEST(Claim::take(store.path, "cell", quick()).has_value());
  }
}

BOOST_AUTO_TEST_CASE(a_heartbeat_keeps_a_claim_young_and_sees_when_it_was_lost) {
  const Store store;
  auto claim = Claim::take(store.path, "cell", quick());
  BOOST_TEST_REQUIRE(claim.has_value());
  fs::last_write_time(store.file, fs::file_time_type::clock::now() - 10min);
  std::this_thread::sleep_for(200ms);
  BOOST_TEST((fs::file_time_type::clock::now() - fs::last_write_time(store.file) < 1min));
  BOOST_TEST(claim->is_held());
  fs::remove(store.file);
  store.leave(elsewhere, "", 0s);
  std::this_thread::sleep_for(200ms);
  BOOST_TEST(!claim->is_held());
  claim.reset();
  BOOST_TEST(read_bytes(store.file).find("another-host") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(of_many_that_follow_a_dead_holder_one_gets_the_claim) {
  const Store store;
  for (int round = 0; round < 100; ++round) {
    store.leave(gone, "", 0s);
    constexpr int num_threads = 8;
    std::atomic<int> ready{0};
    std::vector<std::optional<Claim>> claims(num_threads);
    std::vector<std::thread> threads;
    for (int t = 0; t < num_threads; ++t) {
      threads.emplace_back([&, t] {
        ++ready;
        while (ready < num_threads) std::this_thread::yield();
        claims[static_cast<std::size_t>(t)] = Claim::take(store.path, "cell", quick());
      });
    }
    for (auto& thread : threads) thread.join();
    const auto taken = std::ranges::count_if(claims, [](const auto& claim) { return claim.has_value(); });
    BOOST_TEST_REQUIRE(taken >= 1);
    if (taken > 1) std::this_thread::sleep_for(100ms);  // all but one have seen that they lost it
    BOOST_TEST(std::ranges::count_if(claims, [](const auto& claim) { return claim && claim->is_held(); }) == 1);
  }
  BOOST_TEST(store.files().empty());
}

BOOST_AUTO_TEST_CASE(a_folder_that_cannot_be_made_is_an_error) {
  const Store store;
  write_bytes(fs::path(store.path) / "claims", "a file");
  BOOST_TEST(throws_with<StorageError>([&] { Claim::take(store.path, "cell"); }, "claims"));
}

BOOST_AUTO_TEST_CASE(a_job_that_is_no_number_is_never_gone) {
  BOOST_TEST(!slurm_job_is_gone("1; touch /tmp/x"));
}

BOOST_AUTO_TEST_CASE(a_reader_knows_who_works_on_a_cell_and_who_is_gone) {
  const Store store;
  const auto state = [&] { return holder_state(store.path, "cell", quick()); };
  BOOST_TEST((state() == HolderState::none));
  BOOST_TEST(stale_claims(store.path).empty());
  {
    const auto claim = Claim::take(store.path, "cell", quick());
    BOOST_TEST((state() == HolderState::working));
    BOOST_TEST(stale_claims(store.path, quick()).empty());
  }
  BOOST_TEST((state() == HolderState::none));
  store.leave(gone, "", 0s);
  BOOST_TEST((state() == HolderState::gone));
  store.leave(elsewhere, "", 100s);
  BOOST_TEST((state() == HolderState::working));
  store.leave(elsewhere, "77", 200s);
  BOOST_TEST((state() == HolderState::gone));
  BOOST_TEST((holder_state(store.path, "cell", quick(false)) == HolderState::working));
}

BOOST_AUTO_TEST_CASE(a_stale_claim_is_removed_unless_it_was_taken_over) {
  const Store store;
  store.leave(elsewhere, "77", 200s);
  const auto stale = stale_claims(store.path, quick());
  BOOST_REQUIRE(stale.size() == 1u);
  BOOST_TEST(stale.front().holder == "another-host process 12, Slurm job 77");
  {
    const auto claim = Claim::take(store.path, "cell", quick());
    BOOST_REQUIRE(claim.has_value());
    BOOST_TEST(!kronlab::storage::remove(stale.front()));
    BOOST_TEST(claim->is_held());
    BOOST_TEST((holder_state(store.path, "cell") == HolderState::working));
  }
  store.leave(elsewhere, "77", 200s);
  BOOST_TEST(kronlab::storage::remove(stale_claims(store.path, quick()).front()));
  BOOST_TEST(store.files().empty());
}

BOOST_AUTO_TEST_SUITE_END()
