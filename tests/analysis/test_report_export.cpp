#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "framework/storage/array_file.hpp"
#include "framework/storage/run_reader.hpp"
#include "tests/analysis/report_fixture.hpp"

using namespace kronlab;
using namespace kronlab::storage;
using namespace kronlab::testing;
using Json = nlohmann::json;

namespace {

constexpr double third = 1.0 / 3.0;

std::vector<std::string> lines_of(const std::string& path) {
  std::vector<std::string> lines;
  std::istringstream text(read_bytes(path));
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  return lines;
}

/// A run with numbers that are hard to write, and arrays.
struct Exported : Store {
  std::string id;
  Exported() {
    auto run = RunStore::create(path, labelled("a, \"b\"", "1"));
    id = run.id();
    run.stage_started(0, "mlp");
    Metric metric = sample_metric("eval/perplexity", third, 0, 7);
    metric.standard_error = 5e-324, metric.dataset = "prose", metric.protocol = "window=1024, stride=512";
    run.record(metric);
    for (const double value : {std::nan(""), std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()})
      run.record(sample_metric("m/odd", value));
    run.set_state(RunState::done);
    ArrayFile file((run.folder() / "arrays.h5").string());
    const std::vector<Index> shape = {2, 3};
    file.write("stages/0/layers/a/grid", shape, std::vector<double>{0, third, std::nan(""), -1e300, 5, 6}, {{"axes", "row, column"}, {"unit", "nat"}});
    file.write_vector("stages/0/layers/a/order", std::vector<Index>{9007199254740993, 2}, {{"axes", "position"}});
    file.write_text("config.toml", "name = \"x\"\n");
    file.close();
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(report_export)

BOOST_FIXTURE_TEST_CASE(csv_of_metrics_reads_back_the_same, Exported) {
  const std::string file = folder / "metrics.csv";
  const Output output = report("export --metrics " + file + " " + id);
  BOOST_TEST(output.exit_code == 0, output.err);
  BOOST_TEST(output.has("4 metrics of 1 run(s)"));
  const auto lines = lines_of(file);
  BOOST_REQUIRE(lines.size() == 5u);
  BOOST_TEST(lines[0] == "run,label,name,value,unit,stage,step,layer,dataset,protocol,standard_error");
  BOOST_TEST(lines[1] == id + ",\"a, \"\"b\"\"\",eval/perplexity,0.3333333333333333,1,0,7,,prose,\"window=1024, stride=512\",5e-324");
  BOOST_TEST(lines[2].find("m/odd,nan,1,0,0,,,,") != std::string::npos);
  BOOST_TEST(lines[3].find("m/odd,inf,") != std::string::npos);
  BOOST_TEST(lines[4].find("m/odd,-inf,") != std::string::npos);
}

BOOST_FIXTURE_TEST_CASE(json_of_metrics_reads_back_the_same, Exported) {
  finished_run(path, labelled("b", "2"), 31.5);
  const std::string file = folder / "metrics.json";
  BOOST_TEST(report("export --metrics " + file).exit_code == 0);
  const Json json = Json::parse(read_bytes(file));
  BOOST_REQUIRE(json.size() == 10u);
  BOOST_TEST(json[0]["run"] == id);
  BOOST_TEST(json[0]["label"] == "a, \"b\"");
  BOOST_TEST(json[0]["value"].get<double>() == third);
  BOOST_TEST(json[0]["standard_error"].get<double>() == 5e-324);
  BOOST_TEST(json[1]["value"] == "nan");
  BOOST_TEST(json[3]["value"] == "-inf");
  BOOST_TEST(json[1]["standard_error"].is_null());
  BOOST_TEST(json[9]["label"] == "b");
}

BOOST_FIXTURE_TEST_CASE(arrays_become_csv_with_axes_and_unit_in_the_header, Exported) {
  const std::string out = folder / "arrays";
  BOOST_TEST(report("export --arrays 'stages/*' --out " + out).exit_code == 0);
  const std::string layer = out + "/" + id + "/stages/0/layers/a/";
  const std::vector<std::string> grid = {"row,column,value [nat]", "0,0,0", "0,1,0.3333333333333333", "0,2,nan", "1,0,-1e+300", "1,1,5", "1,2,6"};
  BOOST_TEST(lines_of(layer + "grid.csv") == grid, boost::test_tools::per_element());
  const std::vector<std::string> order = {"position,value", "0,9007199254740993", "1,2"};  // no double has this integer
  BOOST_TEST(lines_of(layer + "order.csv") == order, boost::test_tools::per_element());
  BOOST_TEST(!std::filesystem::exists(out + "/" + id + "/config.toml.csv"));
  BOOST_TEST(report("export --arrays config.toml --out " + out + " " + id).exit_code == 0);
  BOOST_TEST(read_bytes(out + "/" + id + "/config.toml.csv") == "value\n\"name = \"\"x\"\"\n\"\n");
}

BOOST_FIXTURE_TEST_CASE(export_says_what_was_expected_and_leaves_nothing_half, Exported) {
  BOOST_TEST(report("export").exit_code == 2);
  BOOST_TEST(report("export").has("expected --metrics FILE, or --arrays PATTERN with --out DIR"));
  BOOST_TEST(report("export --arrays '*'").has("belong together"));
  BOOST_TEST(report("export --metrics " + (folder / "m.txt")).has("expected a file that ends with .csv or .json"));
  const Output none = report("export --arrays 'nothing*' --out " + (folder / "x"));
  BOOST_TEST(none.exit_code == 2);
  BOOST_TEST(none.has("no array matches 'nothing*'; run " + id + " has config.toml, stages/0/layers/a/grid"));
  BOOST_TEST(report("export --metrics " + (folder / "none/m.csv")).exit_code == 1);
  const std::string other = finished_run(path, labelled("b", "2"), 31.5);
  BOOST_TEST(report("export --arrays '*/grid' --out " + (folder / "x")).has("run " + other + " has no arrays"));
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder.path())) BOOST_TEST(entry.path().extension() != ".tmp", entry.path());
}

BOOST_AUTO_TEST_SUITE_END()
