#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <SQLiteCpp/SQLiteCpp.h>

#include <algorithm>
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "framework/storage/claim.hpp"
#include "framework/storage/run_database.hpp"
#include "framework/storage/run_reader.hpp"
#include "tests/analysis/report_fixture.hpp"

using namespace kronlab;
using namespace kronlab::storage;
using namespace kronlab::testing;
using Json = nlohmann::json;
namespace fs = std::filesystem;

namespace {

void age(const fs::path& path, int days) {
  const ::timespec long_ago{::time(nullptr) - days * 86'400, 0};
  const ::timespec both[] = {long_ago, long_ago};
  BOOST_REQUIRE(::utimensat(AT_FDCWD, path.c_str(), both, 0) == 0);
}

void write_file(const fs::path& path, int days_old = 0) {
  fs::create_directories(path.parent_path());
  write_bytes(path.string(), std::string(1000, 'x'));
  if (days_old > 0) age(path, days_old);
}

/// Every file and folder below a store but locks and journals, which readers of SQLite may make.
std::set<std::string> content_of(const std::string& store) {
  std::set<std::string> paths;
  for (const auto& entry : fs::recursive_directory_iterator(store)) {
    const std::string path = fs::relative(entry.path(), store).string();
    if (!path.ends_with("-journal")) paths.insert(path);
  }
  return paths;
}

/// A store with something of every kind, worth keeping and not.
struct Littered : Store {
  std::map<std::string, std::string> ids;

  std::string make(const std::string& name, RunState state, int days_old = 0) {
    auto description = sample_description(name);
    description.cell = "cell-" + name;
    fs::path run_folder;
    std::string id;
    {
      auto run = RunStore::create(path, description);
      id = run.id(), run_folder = run.folder();
      run.set_state(state, state == RunState::failed ? "no such model" : "");
      for (const char* file : {"factors.safetensors", "DONE", "step-000000100/model.safetensors", "searches/a-0.json"})
        write_file(run_folder / "checkpoints" / "stage-0" / file);
    }
    const std::string then = fmt::format("datetime('now', '-{} days')", days_old);
    if (days_old > 0) {
      SQLite::Database(run_folder / "run.sqlite", SQLite::OPEN_READWRITE)
          .exec("UPDATE run SET updated_at = strftime('%Y-%m-%dT%H:%M:%SZ', " + then + ")");
    }
    return ids[name] = id;
  }

  Littered() {
    make("done", RunState::done, 400);
    make("failed-long-ago", RunState::failed, 40);
    make("failed-lately", RunState::failed, 20);
    make("lost", RunState::running, 40);  // given back without a word
    make("interrupted", RunState::interrupted, 400);
    make("on-another-host", RunState::running, 400);
    SQLite::Database(folder_of("on-another-host") / "run.sqlite", SQLite::OPEN_READWRITE).exec("UPDATE run SET writer = 'elsewhere 1 2'");
    for (const char* name : {"cache/tokens/old", "cache/statistics/key/old.safetensors", "runs/.20261124T051300Z-00000000-x.tmp/run.sqlite"})
      write_file(fs::path(path) / name, 40);
    age(fs::path(path) / "runs/.20261124T051300Z-00000000-x.tmp", 2);
    write_file(fs::path(path) / "cache/tokens/new");
    write_file(fs::path(path) / "cache/tokens/new.123.tmp");
    write_file(fs::path(path) / "cache/tokens/x.123.tmp", 2);
    write_file(folder_of("done") / "arrays.h5.123.tmp", 2);
    write_file(folder_of("interrupted") / "arrays.h5.123.tmp", 2);
    write_file(fs::path(path) / "runs/broken/anything", 400);
    write_file(fs::path(path) / "notes.txt", 400);
    fs::create_directories(fs::path(path) / "claims");
    write_bytes(path + "/claims/cell-on-another-host", "t1\nelsewhere 1 2\n\n");
    write_bytes(path + "/claims/cell-gone", "t2\n" + gone_process() + "\n\n");
    write_bytes(path + "/claims/cell-alive", "t3\n" + this_process() + "\n\n");
  }

  fs::path folder_of(const std::string& name) const { return fs::path(path) / "runs" / ids.at(name); }

  /// This host's, with a number that no process has.
  static std::string gone_process() {
    std::string process = this_process();
    return process.substr(0, process.find(' ')) + " 999999999 1";
  }

  std::set<std::string> found(const std::string& options = "") const {
    std::set<std::string> paths;
    const Json json = Json::parse(report("gc --json " + options).out);
    for (const auto& item : json["found"]) paths.insert(item["path"]);
    return paths;
  }

  std::set<std::string> expected() const {
    const auto run = [&](const char* name) { return "runs/" + ids.at(name); };
    return {run("done") + "/checkpoints/stage-0/step-000000100",
            run("done") + "/checkpoints/stage-0/searches",
            run("done") + "/arrays.h5.123.tmp",
            run("failed-long-ago"),
            run("lost"),
            "cache/tokens/old",
            "cache/statistics/key/old.safetensors",
            "cache/tokens/x.123.tmp",
            "claims/cell-gone",
            "runs/.20261124T051300Z-00000000-x.tmp"};
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(report_gc)

BOOST_FIXTURE_TEST_CASE(gc_finds_what_nobody_needs_and_deletes_nothing_unasked, Littered) {
  const auto before = content_of(path);
  BOOST_TEST(found() == expected(), boost::test_tools::per_element());
  const Output text = report("gc");
  BOOST_TEST(text.exit_code == 0, text.err);
  for (const char* words : {"failed 40 days ago", "lost 40 days ago", "training of a finished run", "not used for 40 days", "is gone", "nothing was: --yes does it"})
    BOOST_TEST(text.has(words));
  const Json json = Json::parse(report("gc --json").out);
  BOOST_TEST(json["deleted_bytes"] == 0);
  for (const auto& item : json["found"]) {
    if (item["path"].get<std::string>().ends_with("step-000000100")) BOOST_TEST(item["bytes"] == 1000);
  }
  BOOST_TEST(content_of(path) == before, boost::test_tools::per_element());
}

BOOST_FIXTURE_TEST_CASE(gc_deletes_what_it_found_and_nothing_else, Littered) {
  auto wanted = content_of(path);
  std::erase_if(wanted, [&](const std::string& kept) {
    return std::ranges::any_of(expected(), [&](const std::string& gone) { return kept == gone || kept.starts_with(gone + "/"); });
  });
  const Output output = report("gc --yes");
  BOOST_TEST(output.exit_code == 0, output.err);
  BOOST_TEST(output.has("deleted"));
  BOOST_TEST(content_of(path) == wanted, boost::test_tools::per_element());
  BOOST_TEST(found().empty());
  BOOST_TEST(report("gc").has("nothing to delete"));
  BOOST_TEST((RunReader(folder_of("done")).status().state == RunState::done));
}

BOOST_FIXTURE_TEST_CASE(gc_takes_interrupted_runs_and_models_only_when_named, Littered) {
  BOOST_TEST(found("--interrupted").contains("runs/" + ids["interrupted"]));
  BOOST_TEST(found("--models").contains("runs/" + ids["done"] + "/checkpoints"));
  BOOST_TEST(found("--older-than 10").contains("runs/" + ids["failed-lately"]));
  BOOST_TEST(!found("--older-than 50").contains("runs/" + ids["failed-long-ago"]));
  BOOST_TEST(report("gc --older-than -1").exit_code == 2);
  BOOST_TEST(report("gc --models --yes").exit_code == 0);
  BOOST_TEST(!fs::exists(folder_of("done") / "checkpoints"));
  BOOST_TEST(report("show " + ids["done"]).exit_code == 0);
  BOOST_TEST(fs::exists(folder_of("interrupted")));
}

BOOST_FIXTURE_TEST_CASE(gc_takes_a_run_of_another_host_only_when_its_claim_is_old, Littered) {
  const std::string run = "runs/" + ids["on-another-host"];
  BOOST_TEST(!found("--interrupted --models").contains(run));
  age(fs::path(path) / "claims/cell-on-another-host", 1);
  const auto now = found();
  BOOST_TEST(now.contains(run));
  BOOST_TEST(now.contains("claims/cell-on-another-host"));
  BOOST_TEST(report("gc --yes").exit_code == 0);
  BOOST_TEST(!fs::exists(folder_of("on-another-host")));
}

BOOST_FIXTURE_TEST_CASE(gc_leaves_a_run_whose_cell_is_claimed, Littered) {
  const auto claim = Claim::take(path, "cell-lost");
  BOOST_REQUIRE(claim.has_value());
  const Output output = report("gc --yes");
  BOOST_TEST(output.has("left: it is in use now"));
  BOOST_TEST(fs::exists(folder_of("lost") / "run.sqlite"));
  BOOST_TEST(!fs::exists(folder_of("failed-long-ago")));
  BOOST_TEST(claim->is_held());
}

BOOST_FIXTURE_TEST_CASE(gc_and_a_run_that_is_written_do_not_disturb_each_other, Littered) {
  auto description = sample_description("written");
  description.cell = "cell-written";
  auto run = RunStore::create(path, description);
  run.set_state(RunState::running);
  run.stage_started(0, "mlp");
  const fs::path training = run.folder() / "checkpoints" / "stage-0" / "step-000000001" / "model.safetensors";
  write_file(training, 400);
  write_file(run.folder() / "arrays.h5.123.tmp", 400);
  std::atomic<bool> is_over = false;
  Index recorded = 0;
  std::thread writer([&] {
    for (; !is_over; ++recorded) {
      run.record(sample_metric("distill/loss", 1.0, 0, recorded));
      run.flush();
    }
  });
  for (int i = 0; i < 10; ++i) BOOST_TEST(report("gc --yes --interrupted --models --older-than 0").exit_code == 0);
  is_over = true;
  writer.join();
  BOOST_TEST(fs::exists(training));
  BOOST_TEST(fs::exists(run.folder() / "arrays.h5.123.tmp"));
  BOOST_TEST(recorded > 0);
  BOOST_TEST(static_cast<Index>(RunReader(run.folder()).metrics("distill/loss").size()) == recorded);
  BOOST_TEST(!fs::exists(folder_of("failed-lately")));
}

BOOST_FIXTURE_TEST_CASE(gc_says_what_it_could_not_delete_and_goes_on, Littered) {
  if (::geteuid() == 0) {  // to root nothing is forbidden: a folder in the way of the new name is
    const fs::path aside = fs::path(path) / "runs" / ("." + ids["lost"] + ".deleted");
    write_file(aside / "x");
    BOOST_TEST(report("gc --yes").exit_code == 0);
    BOOST_TEST(!fs::exists(aside));
    BOOST_TEST(!fs::exists(folder_of("lost")));
    return;
  }
  fs::permissions(folder_of("done") / "checkpoints/stage-0", fs::perms::owner_read | fs::perms::owner_exec);
  const Output output = report("gc --yes");
  fs::permissions(folder_of("done") / "checkpoints/stage-0", fs::perms::owner_all);
  BOOST_TEST(output.exit_code == 1);
  BOOST_TEST(output.has("could not be deleted"));
  BOOST_TEST(!fs::exists(folder_of("lost")));
}

BOOST_AUTO_TEST_SUITE_END()
