// Tables of published numbers alone: where rows and columns meet, what is refused, and those of experiments/published.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "analysis/published.hpp"
#include "framework/base/hash.hpp"
#include "tests/analysis/report_fixture.hpp"

using namespace kronlab;
using namespace kronlab::analysis;
using namespace kronlab::testing;
using Json = nlohmann::json;
namespace fs = std::filesystem;

namespace {

const fs::path folder = fs::path(std::getenv("KRONLAB_SOURCE_DIR")) / "experiments" / "published";

std::vector<fs::path> specs() {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder / "tables")) {
    if (entry.path().extension() == ".toml") found.push_back(entry.path());
  }
  std::ranges::sort(found);
  return found;
}

/// Its store does not exist.
struct NoRuns : Store {
  std::string spec(const std::string& text) const {
    write_file_atomically(folder / "spec.toml", "rows = \"published\"\n" + text);
    return folder / "spec.toml";
  }
  Json table(const std::string& file) const {
    const Output output = report("table --json " + file);
    BOOST_TEST_REQUIRE(output.exit_code == 0, output.err);
    return Json::parse(output.out);
  }
  Output error(const std::string& text, const std::string& arguments = "") const {
    const Output output = report("table " + spec(text) + arguments);
    BOOST_TEST(output.exit_code == 2, output.out);
    return output;
  }
};

/// "KnGPT-2" in "WikiText-103": its number; null where there is none.
Json number(const Json& table, const std::string& label, const std::string& header) {
  std::size_t c = 0;
  while (c < table["columns"].size() && table["columns"][c]["header"] != header) ++c;
  BOOST_TEST_REQUIRE(c < table["columns"].size(), "no column " << header);
  for (const auto& row : table["rows"]) {
    if (row["label"] == label) return row["cells"][c].is_null() ? Json() : row["cells"][c]["value"];
  }
  BOOST_FAIL("no row " << label);
  return {};
}

/// What tells a published value from all others.
using Identity = std::vector<std::string>;

Identity identity_of(const Json& published) {
  Identity identity;
  for (const char* key : {"method", "model", "setting", "metric", "dataset", "protocol", "source"}) identity.push_back(published.at(key));
  return identity;
}

const std::string label = "[[column]]\nshow = \"label\"\n", kn = "[[published]]\nmethod = \"KnGPT-2\"\n";
std::string column(const std::string& metric, const std::string& more = "") { return "[[column]]\nshow = \"published." + metric + "\"\n" + more; }

}  // namespace

BOOST_AUTO_TEST_SUITE(report_published)

BOOST_AUTO_TEST_CASE(a_table_of_published_numbers_needs_no_store) {
  const NoRuns none;
  const std::string spec = none.spec("title = \"One\"\nnotes = [\"a line\", \"another\"]\n" + label +
                                     column("perplexity", "dataset = \"WikiText-103\"\nprotocol = \"zero-shot\"\nheader = \"ppl\"\n") + kn);
  const Output text = none.report("table " + spec);
  BOOST_TEST(text.exit_code == 0, text.err);
  BOOST_TEST(text.has("40.97[1]q"));
  BOOST_TEST(text.has("\na line\nanother\n[1] arXiv:2412.12351, Tables VI and VII, quoting arXiv:2401.16367 (quoted): zero-shot; tokenised test text"));
  BOOST_TEST(text.has("\nq: quoted, read elsewhere\n"));
  BOOST_TEST(text.out.find("verified") == std::string::npos);
  for (const char* format : {"markdown", "latex", "html", "csv"}) BOOST_TEST(none.report("table " + spec + " --format " + format).has("40.97"));
  BOOST_TEST(none.report("explain " + spec + " KnGPT-2:ppl").has("40.97"));
  BOOST_TEST(!fs::exists(none.path));
}

BOOST_AUTO_TEST_CASE(a_published_number_stands_where_row_and_column_together_say_all_of_its_setting) {
  const NoRuns none;
  const std::string columns = label + column("frobenius_norm", "method = \"dense\"\nheader = \"dense\"\n") +
                              column("frobenius_norm", "method = \"Van Loan\"\nsetting = \"96M shape\"\nheader = \"96M\"\n") +
                              column("frobenius_norm", "method = \"Van Loan\"\nsetting = \"92M-4 shape\"\nheader = \"92M\"\n");
  const Json table = none.table(none.spec(columns + "[[published]]\nlabel = \"1\"\nsetting = \"layer 1, p1\"\n[[published]]\nlabel = \"11\"\nsetting = \"p2, layer 11\"\n"));
  BOOST_TEST(number(table, "1", "dense") == 216);
  BOOST_TEST(number(table, "1", "96M") == 153);
  BOOST_TEST(number(table, "1", "92M") == 146);
  BOOST_TEST(number(table, "11", "96M") == 217);

  // An empty setting is one that says nothing; none at all is any.
  const std::string counted = label + column("parameters_without_head", "header = \"counted\"\n") + column("parameters_reported", "protocol = \"left out\"\nheader = \"printed\"\n");
  BOOST_TEST(none.error(counted + kn).has("'KnGPT-2' has several values of parameters_without_head"));
  const Json sizes = none.table(none.spec(counted + kn + "setting = \"\"\n" + kn + "label = \"halved\"\nsetting = \"attention output projection halved\"\n"));
  BOOST_TEST(number(sizes, "KnGPT-2", "counted").is_null());
  BOOST_TEST(number(sizes, "KnGPT-2", "printed") == 83e6);
  BOOST_TEST(number(sizes, "halved", "counted") == 83907530);

  const Json models = none.table(none.spec(column("perplexity", "dataset = \"PTB\"\nmodel = \"OPT-66B\"\nheader = \"66B\"\n") +
                                           "[[published]]\nmethod = \"SparseGPT\"\nsetting = \"4:8\"\n"));
  BOOST_TEST(number(models, "SparseGPT", "66B") == 14.68);
}

BOOST_AUTO_TEST_CASE(what_a_table_of_published_numbers_cannot_show_is_refused) {
  const NoRuns none;
  const std::string glue = column("average_score", "protocol = \"test sets\"\n");
  BOOST_TEST(none.error(label).has("expected a [[column]] and a [[published]] row"));
  BOOST_TEST(none.error(kn).has("expected a [[column]] and a [[published]] row"));
  BOOST_TEST(none.error("[[column]]\nshow = \"eval/perplexity\"\n" + kn).has("column 'eval/perplexity' is of runs"));
  BOOST_TEST(none.error("[[column]]\nshow = \"state\"\n" + kn).has("spec.toml:2:1: column 'state' is of runs"));
  BOOST_TEST(none.error("[[column]]\nshow = \"label\"\nmodel = \"OPT-125M\"\n" + kn).has("method, model and setting are of published.METRIC"));
  BOOST_TEST(none.error(glue + kn + "[[published]]\nmethod = \"AWQ\"\n").has("the published row 'AWQ' has a number in no column"));
  BOOST_TEST(none.error(glue + column("memory") + kn).has("column 'memory, published': no published row has it"));
  BOOST_TEST(none.error(column("memory", "method = \"CompactifyAI\"\n") + "[[published]]\nsetting = \"88 %\"\n").has("unknown method 'CompactifyAI' (did you mean 'CompactifAI'?)"));
  BOOST_TEST(none.error(column("perplexity", "dataset = \"WikiText-103\"\n") + "[[published]]\nmethod = \"KronyPT-81M\"\n[[published]]\nmethod = \"TQCompressedGPT-2\"\nsetting = \"released checkpoint\"\n")
                 .has("two protocols cannot share a column"));
  BOOST_TEST(none.error("runs = { experiment = \"healing\" }\n" + glue + kn).has("shows no runs, and some were asked for"));
  BOOST_TEST(none.error(glue + kn, " 20260101-000000-abcd").has("shows no runs, and some were asked for"));
}

BOOST_AUTO_TEST_CASE(a_marked_table_of_published_numbers_is_checked_without_a_store) {
  const NoRuns none;
  const std::string spec = none.spec(label + column("average_score", "protocol = \"test sets\"\nheader = \"GLUE\"\n") + kn), file = none.folder / "README.md";
  const std::string marked = none.report("table --marked --format markdown " + spec).out;
  write_file_atomically(file, marked);
  const Output good = none.report("check-tables " + file);
  BOOST_TEST(good.exit_code == 0, good.out + good.err);
  BOOST_TEST(good.has("README.md:1: 1 published numbers"));
  std::string changed = marked;
  changed.replace(changed.find("77.42"), 5, "77.43");
  write_file_atomically(file, changed);
  BOOST_TEST(none.report("check-tables " + file).exit_code == 1);
  BOOST_TEST(none.report("check-tables --update " + file).exit_code == 0);
  BOOST_TEST(read_bytes(file) == marked);
  // Without runs a table of anything else says nothing.
  write_file_atomically(file, "<!-- kronlab-table {\"format\":\"markdown\",\"runs\":[]} -->\n<!-- kronlab-table end -->\n");
  BOOST_TEST(none.report("check-tables " + file).has("no runs"));
}

BOOST_AUTO_TEST_CASE(every_published_value_stands_in_a_table_with_its_source) {
  const NoRuns none;
  std::map<Identity, std::set<double>> shown;
  BOOST_TEST_REQUIRE(!specs().empty());
  for (const auto& spec : specs()) {
    BOOST_TEST_CONTEXT(spec.filename().string()) {
      const Json table = none.table(spec.string());
      BOOST_TEST(!table["title"].get<std::string>().empty());
      std::set<std::string> labels;
      for (const auto& row : table["rows"]) {
        int num_numbers = 0;
        for (const auto& cell : row["cells"]) {
          if (!cell.contains("published")) continue;
          ++num_numbers;
          shown[identity_of(cell["published"])].insert(cell["value"].get<double>());
        }
        BOOST_TEST(num_numbers > 0, row["label"] << " is empty");
        BOOST_TEST(labels.insert(row["label"]).second, row["label"] << " stands there twice");
      }
    }
  }
  for (const auto& value : published_values()) {
    const Identity identity = {value.method, value.model, value.setting, value.metric, value.dataset, value.protocol, value.source};
    BOOST_TEST(shown[identity].contains(value.value), "in no table: " << fmt::format("{}", fmt::join(identity, ", ")));
  }
}

BOOST_AUTO_TEST_CASE(disputed_points_are_both_shown_and_never_share_a_column_where_protocols_differ) {
  const NoRuns none;
  const Json table = none.table((folder / "tables" / "disputed.toml").string());
  BOOST_TEST(number(table, "TQCompressed, paper", "printed, head left out") == 81e6);
  BOOST_TEST(number(table, "TQCompressed, released", "counted, head left out") == 81336388);
  BOOST_TEST(number(table, "TQCompressed, released", "counted, head included") == 119933764);
  BOOST_TEST(number(table, "TQCompressed, paper", "WikiText-103") == 40.28);
  BOOST_TEST(number(table, "TQCompressed, released", "WikiText-103").is_null());
  BOOST_TEST(number(table, "TQCompressed, released", "WikiText-103, checkpoint") == 40.61127471923828);
  BOOST_TEST(number(table, "KronyPT-96M, 1 epoch, Table VIII", "WikiText-103") == 47.42);
  BOOST_TEST(number(table, "KronyPT-96M, 1 epoch, Table VIII", "WikiText-2") == 56.69);
  BOOST_TEST(number(table, "KronyPT-96M, 1 epoch, Table IX", "WikiText-103") == 57.46);
  BOOST_TEST(number(table, "KronyPT-96M, 1 epoch, Table IX", "WikiText-2") == 47.42);
  BOOST_TEST(number(table, "KnGPT-2", "WikiText-103") == 40.97);
  BOOST_TEST(number(table, "KnGPT-2", "WikiText-103, fine-tuned") == 20.5);
  const Output text = none.report("table " + (folder / "tables" / "disputed_tuned.toml").string());
  BOOST_TEST(text.has("18.8[2]u"));
  BOOST_TEST(text.has("] not known, attributed to arXiv:2110.08152 (unverified): "));
  BOOST_TEST(text.has("u: unverified, no source found, not to be cited"));
}

BOOST_AUTO_TEST_CASE(the_script_prints_every_table_and_writes_a_file_for_each) {
  const NoRuns none;
  const std::string out = none.folder / "tables", script = "bash " + (folder / "published.sh").string();
  const auto run = [&](const std::string& arguments) { return std::system((script + arguments + " >" + (none.folder / "text") + " 2>&1").c_str()); };
  BOOST_TEST(run(" --out " + out) == 0, read_bytes(none.folder / "text"));
  const std::string text = read_bytes(none.folder / "text");
  for (const auto& spec : specs()) {
    const std::string toml = read_bytes(spec.string()), begin = "title = \"";
    BOOST_TEST_REQUIRE(toml.starts_with(begin), spec);
    const std::string title = toml.substr(begin.size(), toml.find("\"\n") - begin.size());
    BOOST_TEST(text.find(title + "\n\n") != std::string::npos, spec);
    BOOST_TEST(read_bytes(out + "/" + spec.stem().string() + ".md").starts_with("**" + title + "**\n"), spec);
  }
  BOOST_TEST(run(" --in x") != 0);
}

BOOST_AUTO_TEST_CASE(the_readme_of_the_tables_holds_all_of_them_as_they_are) {
  const NoRuns none;
  const fs::path readme = folder / "tables" / "README.md";
  const Output output = none.report("check-tables " + readme.string());
  BOOST_TEST(output.exit_code == 0, output.out + output.err);
  const std::string text = read_bytes(readme.string());
  for (const auto& spec : specs()) BOOST_TEST(text.find("\"spec\":\"" + spec.filename().string() + "\"") != std::string::npos, spec);
}

BOOST_AUTO_TEST_SUITE_END()
