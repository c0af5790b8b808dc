#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <filesystem>
#include <set>
#include <sstream>

#include "framework/storage/array_file.hpp"
#include "framework/storage/run_reader.hpp"
#include "tests/analysis/report_fixture.hpp"

using namespace kronlab;
using namespace kronlab::storage;
using namespace kronlab::testing;

namespace {

/// Whether a file is a picture of its extension's format.
bool is_picture(const std::string& path) {
  const std::string bytes = read_bytes(path);
  if (path.ends_with(".png")) return bytes.starts_with("\x89PNG\r\n");
  if (path.ends_with(".pdf")) return bytes.starts_with("%PDF-");
  return bytes.starts_with("<?xml") && bytes.find("<svg") != std::string::npos && bytes.find("</svg>") != std::string::npos;
}

/// A run with layers of three blocks, a curve and spectra.
std::string drawn_run(const Store& store, const std::string& label, double size, double value) {
  auto run = RunStore::create(store.path, labelled(label, "1"));
  run.stage_started(0, "mlp");
  perplexity(run, 20.5, -1, short_protocol);
  perplexity(run, value, 0, short_protocol);
  for (const auto& [stage, parameters] : {std::pair(-1, 1.0e8), std::pair(0, size)}) {
    run.record(sample_metric("size/parameters", parameters, stage));
    Metric bytes = sample_metric("size/stored_bytes", 4 * parameters, stage);
    bytes.unit = "B";
    run.record(bytes);
  }
  for (int step = 1; step <= 40; ++step) run.record(sample_metric("distill/loss", 3.0 / step, 0, step));
  ArrayFile file((run.folder() / "arrays.h5").string());
  for (int block = 0; block < 3; ++block) {
    for (const char* kind : {"mlp.up_proj", "mlp.down_proj"}) {
      auto layer = sample_layer(fmt::format("layers.{}.{}", block, kind));
      layer.relative_error = 0.125 * (block + 1);
      run.record_layer(layer);
      Metric gain = sample_metric("search/gain", block, 0);
      gain.layer = layer.layer, gain.unit = "nat";
      run.record(gain);
      file.write_vector("stages/0/layers/" + layer.layer + "/spectrum", std::vector<double>{8, 4, 2, 1, 0}, {});
    }
  }
  file.close();
  run.set_state(RunState::done);
  return run.id();
}

struct Drawn : Store {
  std::string first, second;
  Drawn() : first(drawn_run(*this, "a", 5e7, 30)), second(drawn_run(*this, "b_with 'marks'", 8e7, 25)) {}
};

const std::vector<std::string> subjects = {"", "--pareto", "--pareto stored_bytes", "--curves distill/loss", "--spectra", "--heat-map", "--heat-map search/gain"};

}  // namespace

BOOST_AUTO_TEST_SUITE(report_plot)

BOOST_FIXTURE_TEST_CASE(every_subject_is_drawn_in_every_format, Drawn) {
  for (const auto& subject : subjects) {
    for (const char* extension : {"png", "svg", "pdf"}) {
      const std::string picture = folder / (std::string("picture.") + extension);
      std::filesystem::remove(picture);
      const Output output = report("plot --out " + picture + " " + first + " " + second + " " + subject);
      BOOST_TEST(output.exit_code == 0, subject << ": " << output.err);
      BOOST_TEST(output.err == "wrote " + picture + "\n");  // gnuplot had no complaint
      BOOST_TEST(is_picture(picture), subject << " " << extension);
    }
  }
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    BOOST_TEST(entry.path().extension() != ".tmp", entry.path());
    BOOST_TEST(entry.path().extension() != ".gnuplot", entry.path());
  }
}

BOOST_FIXTURE_TEST_CASE(a_terminal_shows_every_subject_and_no_line_is_wider, Drawn) {
  for (const auto& subject : subjects) {
    const Output output = report("plot --terminal " + first + " " + second + " " + subject);
    BOOST_TEST(output.exit_code == 0, subject << ": " << output.err);
    BOOST_TEST(output.err.empty(), output.err);
    std::istringstream lines(output.out);
    std::size_t num_lines = 0;
    for (std::string line; std::getline(lines, line); ++num_lines) {
      const auto width = std::ranges::count_if(line, [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U; });
      BOOST_TEST(width <= 80, line);
    }
    BOOST_TEST(num_lines > 10u, subject);
  }
  BOOST_TEST(report("plot --terminal --heat-map").has("relative_error [1]: 0 is 0.125, 9 is 0.375"));
  BOOST_TEST(report("plot --terminal --heat-map search/gain").has("search/gain [nat]: 0 is 0, 9 is 2"));
  BOOST_TEST(report("plot --terminal --pareto").has("b_with 'marks'"));
}

BOOST_FIXTURE_TEST_CASE(axes_have_units_and_runs_their_labels, Drawn) {
  const auto has = [&](const std::string& subject, const std::vector<std::string>& words) {
    const std::string picture = folder / "picture.svg";
    report("plot --out " + picture + " " + subject);
    const std::string svg = read_bytes(picture);
    for (const auto& word : words) BOOST_TEST(svg.find(word) != std::string::npos, word << " of " << subject);
  };
  has("--pareto", {"parameters [million]", "perplexity [1], lower is better", "Pareto front", ">dense tiny<", "b_with "});
  has("--pareto stored_bytes", {"stored size [MB]"});
  has("--dataset prose --pareto", {"prose", "Pareto front"});
  has("--curves distill/loss", {"optimizer step [1]", "distill/loss [1]"});
  has("--spectra", {"singular value / the largest [1]", "a: layers.0.mlp.up_proj"});
  has("--spectra " + first, {"layers.2.mlp.down_proj"});
  has("--heat-map search/gain", {"search/gain [nat]", "block", "mlp.up_proj"});
}

BOOST_FIXTURE_TEST_CASE(plot_says_what_it_expected, Drawn) {
  const auto refused = [&](const std::string& arguments, const std::string& words) {
    const Output output = report("plot " + arguments);
    BOOST_TEST(output.exit_code == 2, arguments);
    BOOST_TEST(output.has(words));
  };
  refused("", "expected --out FILE.png, .svg or .pdf, or --terminal");
  refused("--out " + (folder / "picture.gif"), "expected a picture that ends with .png, .svg or .pdf");
  refused("--terminal --heat-map nothing", "known: relative_error, search/gain, search_value, seconds, weighted_error");
  refused("--terminal --pareto flops", "--pareto");
  refused("--terminal --spectra --searches", "");
  refused("--terminal --pareto --dataset none", "no run has a perplexity on 'none'; there are: prose");
  refused("--terminal --curves nothing", "none of the chosen runs has nothing to draw");
  const Store other;
  RunStore::create(other.path, sample_description());
  for (const char* subject : {"--pareto", "--spectra", "--heat-map"}) {
    BOOST_TEST(other.report(std::string("plot --terminal ") + subject).exit_code == 2, subject);
    BOOST_TEST(other.report(std::string("plot --terminal ") + subject).has("none of the chosen runs has"));
  }
  const std::string none = "PATH=" + (folder / "none") + " " + std::string(std::getenv("KRONLAB_BINARY_DIR")) + "/bin/kronlab-report plot --terminal --store " + path;
  BOOST_TEST(std::system((none + " 2>" + (folder / "err")).c_str()) != 0);
  BOOST_TEST(read_bytes(folder / "err").find("cannot start gnuplot (Debian: gnuplot-nox)") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
