// Tables of published numbers alone: where rows and columns meet, what is refused.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "framework/base/hash.hpp"
#include "tests/analysis/report_fixture.hpp"

using namespace kronlab;
using namespace kronlab::testing;
using Json = nlohmann::json;
namespace fs = std::filesystem;

namespace {

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

BOOST_AUTO_TEST_SUITE_END()
