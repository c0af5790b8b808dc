#include <cstdio>
#include <map>
#include <memory>

#include "analysis/commands.hpp"
#include "analysis/json_output.hpp"
#include "analysis/run_selection.hpp"
#include "framework/base/text_table.hpp"
#include "framework/storage/run_results.hpp"

namespace kronlab::analysis {
namespace {

using Align = TextTable::Align;
using Format = TextTable::Format;

const std::map<std::string, Format> formats = {
    {"text", Format::text}, {"markdown", Format::markdown}, {"csv", Format::csv}};

struct Options {
  RunSelection selection;
  std::string format = "text";
  bool is_json = false;
  bool has_all_rows = false;
};

std::string parameter_of(const storage::ResultRow& row, const std::string& name) {
  for (const auto& [key, value] : row.parameters) {
    if (key == name) return value;
  }
  return "-";
}

std::string number_or_dash(const std::optional<double>& value, std::string (*format)(double)) {
  return value ? format(*value) : "-";
}

/// Long values are for `show` and --format csv.
std::string shortened(const std::string& text) {
  constexpr std::size_t longest = 40;
  return text.size() <= longest ? text : text.substr(0, longest - 3) + "...";
}

std::string four_digits(double value) { return format_number(value, 4); }

/// For readers: rounded, with separators, a short header for each measure and its meaning below.
void print_rounded(const storage::Results& results, Format format) {
  TextTable table;
  table.columns = {{"label"}, {"state"}};
  for (const auto& name : results.parameter_names) table.columns.push_back({name, Align::right});
  table.columns.push_back({"parameters", Align::right});
  table.columns.push_back({"stored", Align::right});
  for (std::size_t m = 0; m < results.measures.size(); ++m) {
    const std::string header = results.measures.size() == 1 ? "perplexity" : fmt::format("perplexity [{}]", m + 1);
    table.columns.push_back({header, Align::right});
  }
  for (const char* header : {"rel. error", "weighted error", "time [s]"})
    table.columns.push_back({header, Align::right});
  for (const auto& row : results.rows) {
    std::vector<std::string> cells = {row.label, row.is_dense ? "-" : row.state};
    for (const auto& name : results.parameter_names) cells.push_back(shortened(parameter_of(row, name)));
    cells.push_back(number_or_dash(row.num_parameters, format_count));
    cells.push_back(number_or_dash(row.stored_bytes, format_bytes));
    for (const auto& value : row.measured) cells.push_back(storage::format_value(value));
    cells.push_back(number_or_dash(row.relative_error, four_digits));
    cells.push_back(number_or_dash(row.weighted_error, four_digits));
    cells.push_back(number_or_dash(row.seconds, four_digits));
    table.rows.push_back(std::move(cells));
  }
  std::string text = table.print(format);
  if (!results.measures.empty()) text += "\n";
  for (std::size_t m = 0; m < results.measures.size(); ++m) {
    const std::string mark = results.measures.size() == 1 ? "" : fmt::format(" [{}]", m + 1);
    text += fmt::format("{}perplexity{}: {}\n", format == Format::markdown && m > 0 ? "\n" : "", mark,
                        storage::place_of(results.measures[m]));
  }
  std::fputs(text.c_str(), stdout);
}

std::string exact(const std::optional<double>& value) { return value ? fmt::format("{}", *value) : ""; }

/// For programs: every digit, units in the header, an empty cell for what is absent.
void print_csv(const storage::Results& results) {
  TextTable table;
  table.columns = {{"run"}, {"label"}, {"state"}};
  for (const auto& name : results.parameter_names) table.columns.push_back({name});
  table.columns.push_back({"parameters"});
  table.columns.push_back({"stored_bytes"});
  for (const auto& measure : results.measures) {
    table.columns.push_back({fmt::format("perplexity [{}]", storage::place_of(measure))});
    table.columns.push_back({fmt::format("standard error [{}]", storage::place_of(measure))});
  }
  for (const char* header : {"relative_error", "weighted_error", "seconds"}) table.columns.push_back({header});
  for (const auto& row : results.rows) {
    std::vector<std::string> cells = {row.run_id, row.label, row.is_dense ? "" : row.state};
    for (const auto& name : results.parameter_names) {
      const std::string value = parameter_of(row, name);
      cells.push_back(value == "-" ? "" : value);
    }
    cells.push_back(exact(row.num_parameters));
    cells.push_back(exact(row.stored_bytes));
    for (const auto& value : row.measured) {
      cells.push_back(value ? exact(value->value) : "");
      cells.push_back(value ? exact(value->standard_error) : "");
    }
    for (const auto& value : {row.relative_error, row.weighted_error, row.seconds}) cells.push_back(exact(value));
    table.rows.push_back(std::move(cells));
  }
  std::fputs(table.print(Format::csv).c_str(), stdout);
}

void print_as_json(const storage::Results& results) {
  Json json = {{"measures", Json::array()}, {"rows", Json::array()}};
  for (const auto& measure : results.measures) {
    json["measures"].push_back(
        {{"name", measure.name}, {"unit", measure.unit}, {"dataset", measure.dataset}, {"protocol", measure.protocol}});
  }
  for (const auto& row : results.rows) {
    Json measured = Json::array();
    for (const auto& value : row.measured) {
      measured.push_back(
          value ? Json{{"value", json_number(value->value)}, {"standard_error", json_number(value->standard_error)}}
                : Json(nullptr));
    }
    json["rows"].push_back({{"run", row.run_id},
                            {"dense", row.is_dense},
                            {"label", row.label},
                            {"state", row.is_dense ? Json(nullptr) : Json(row.state)},
                            {"varied", json_texts(row.parameters)},
                            {"parameters", json_number(row.num_parameters)},
                            {"stored_bytes", json_number(row.stored_bytes)},
                            {"measured", std::move(measured)},
                            {"relative_error", json_number(row.relative_error)},
                            {"weighted_error", json_number(row.weighted_error)},
                            {"seconds", json_number(row.seconds)}});
  }
  print_json(json);
}

void run(const Options& options) {
  const auto rows = options.has_all_rows ? storage::RowsOfRun::all : storage::RowsOfRun::last;
  const storage::Results results = storage::results_of(open_runs(options.selection), rows);
  if (options.is_json) return print_as_json(results);
  const Format format = formats.at(options.format);
  if (format == Format::csv) return print_csv(results);
  print_rounded(results, format);
}

}  // namespace

void add_table_command(CLI::App& app, Action& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("table", "One row per run: size, perplexity, errors, time");
  options->selection.add_store_option(*command);
  options->selection.add_run_arguments(*command);
  command->add_option("--format", options->format, "text, markdown or csv")
      ->check(CLI::IsMember({"text", "markdown", "csv"}))
      ->capture_default_str();
  command->add_flag("--all", options->has_all_rows, "A row for every measurement: each stage after its compression, and after its training");
  command->add_flag("--json", options->is_json, "One JSON object on standard output");
  command->callback([options, &chosen] { chosen = [options] { run(*options); }; });
}

}  // namespace kronlab::analysis
