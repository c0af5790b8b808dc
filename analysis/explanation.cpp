#include "analysis/explanation.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "analysis/comparison.hpp"
#include "analysis/table_columns.hpp"
#include "analysis/table_formats.hpp"
#include "framework/base/error.hpp"
#include "framework/base/text_table.hpp"

namespace kronlab::analysis {
namespace {

std::size_t position_of(const std::vector<std::string>& names, const std::string& wanted, const char* what) {
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(wanted.data(), wanted.data() + wanted.size(), number);
  const bool is_number = error == std::errc() && end == wanted.data() + wanted.size();
  if (is_number && number >= 1 && number <= names.size()) return number - 1;
  const auto same = std::ranges::find(names, wanted);
  if (same != names.end()) return static_cast<std::size_t>(same - names.begin());
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (!wanted.empty() && names[i].find(wanted) != std::string::npos) found.push_back(i);
  }
  if (found.size() == 1) return found.front();
  throw ConfigError(fmt::format("{} '{}' is {}, expected a number from 1 to {} or one of: {}", what, wanted, found.empty() ? "not there" : "not the only one",
                                names.size(), fmt::join(names, " | ")));
}

std::string exact(double value) { return fmt::format("{}", value); }

/// A perplexity once more, from the losses of its windows.
std::string recomputed(const storage::RunReader& run, const Column& column, const storage::Value& value) {
  if (!column.measure || column.measure->name != "eval/perplexity") return {};
  const auto evaluations = run.evaluations();
  const auto* evaluation = evaluation_of(evaluations, *column.measure, value);
  if (!evaluation || evaluation->windows.empty()) return "the losses of its windows were not recorded";
  const auto [mean, error] = mean_loss(evaluation->windows);
  return fmt::format("exp({}), the mean loss in nat of {} windows of the text with SHA-256 {}: {}; ± perplexity times {}: {}", mean, evaluation->windows.size(),
                     evaluation->data_sha256, std::exp(mean), error, std::exp(mean) * error);
}

std::string mean_over_layers(const storage::RunReader& run, bool is_weighted) {
  std::map<std::string, std::pair<Index, std::optional<double>>> last;
  for (const auto& layer : run.layers()) {
    auto& [stage, error] = last.try_emplace(layer.layer, -1, std::nullopt).first->second;
    if (layer.stage >= stage) stage = layer.stage, error = is_weighted ? layer.weighted_error : std::optional(layer.relative_error);
  }
  std::string text;
  for (const auto& [layer, entry] : last) {
    if (entry.second) text += fmt::format("      {}  stage {}  {}\n", layer, entry.first, *entry.second);
  }
  return "    mean over these layers, each at its last stage\n" + text;
}

std::string source_of(const ChosenTable& chosen, const Column& column, const Source& source) {
  const auto& run = chosen.runs[source.run];
  std::string text = fmt::format("  run {}\n    value {}", run.id(), exact(source.value.value));
  if (source.value.standard_error) text += fmt::format(" ± {}", exact(*source.value.standard_error));
  text += "\n    record " + (run.folder() / "run.sqlite").string() + "\n";
  if (column.measure) {
    const auto& measure = *column.measure;
    text += fmt::format("    SELECT value, standard_error FROM metric WHERE name = '{}' AND dataset = '{}' AND protocol = '{}' AND layer = '' AND stage = {} "
                        "AND step = {} ORDER BY id DESC LIMIT 1\n",
                        measure.name, measure.dataset, measure.protocol, source.value.stage, source.value.step);
    if (const auto again = recomputed(run, column, source.value); !again.empty()) text += "    " + again + "\n";
  } else if (column.spec.show.ends_with("_error")) {
    text += mean_over_layers(run, column.spec.show == "weighted_error");
  } else if (column.spec.show == "seconds") {
    for (const auto& stage : run.stages()) {
      if (stage.seconds) text += fmt::format("    stage {} ({}): {} s\n", stage.stage, stage.name, *stage.seconds);
    }
  }
  return text;
}

std::string arithmetic_of(const Cell& cell) {
  if (cell.sources.size() < 2) return {};
  std::string sum;
  for (const auto& source : cell.sources) sum += (sum.empty() ? "" : " + ") + exact(source.value.value);
  std::string text = fmt::format("  mean = ({}) / {} = {}\n", sum, cell.sources.size(), exact(*cell.value));
  if (cell.error) text += fmt::format("  ± {}: {} (with n - 1)\n", to_string(cell.error_kind), exact(*cell.error));
  return text;
}

std::string texts_of(const storage::NamedTexts& texts) {
  std::string lines;
  for (const auto& [name, text] : texts) {
    if (!text.empty()) lines += fmt::format("  {}: {}\n", name, text.substr(0, text.find('\n')) + (text.find('\n') == std::string::npos ? "" : " ..."));
  }
  return lines;
}

/// Of the first run, and where the others differ.
std::string origins_of(const ChosenTable& chosen, const Row& row) {
  std::vector<storage::RunReader> runs;
  for (const auto run : row.runs) runs.emplace_back(chosen.runs[run].folder());
  const auto first = runs.front().description();
  std::string text = fmt::format("\nConfiguration (cell {})\n\n{}", first.cell, first.config_toml);
  if (!text.ends_with('\n')) text += "\n";
  if (runs.size() > 1) text += "\nWhat differs between the runs\n\n";
  if (runs.size() > 1) {
    for (const auto& [path, values] : setting_differences(runs)) text += fmt::format("  {}: {}\n", path, fmt::join(values, ", "));
  }
  return text + "\nProvenance of run " + runs.front().id() + "\n\n" + texts_of(first.provenance);
}

std::string mark_text(const Cell& cell) {
  if (cell.mark == Mark::best) return "  the best of its column among the rows whose runs are done\n";
  if (cell.mark == Mark::untested) return "  no paired test against the best: the same windows were not recorded\n";
  if (!cell.p_value) return {};
  return fmt::format("  paired t-test over windows against the best of the column: p = {}\n", format_number(*cell.p_value, 3));
}

}  // namespace

CellAddress cell_address(const ResultTable& table, const std::string& text) {
  const auto colon = text.rfind(':');
  if (colon == std::string::npos) throw ConfigError(fmt::format("the cell '{}' is not of the form ROW:COLUMN", text));
  std::vector<std::string> labels, headers;
  for (const auto& row : table.rows) labels.push_back(row.label);
  for (const auto& column : table.columns) headers.push_back(column.header);
  return {position_of(labels, text.substr(0, colon), "row"), position_of(headers, text.substr(colon + 1), "column")};
}

std::string explanation(const ChosenTable& chosen, CellAddress address) {
  const Row& row = chosen.table.rows.at(address.row);
  const Column& column = chosen.table.columns.at(address.column);
  const Cell& cell = row.cells.at(address.column);
  const std::string meaning = meaning_of(column);
  std::string text = fmt::format("row     {}\ncolumn  {}{}\nshown   {}\n\n", row.label, header_with_unit(chosen.table, address.column),
                                 meaning.empty() ? "" : ": " + meaning, cell_text(chosen.table, row, address.column));
  if (!cell.arithmetic.empty()) return text + fmt::format("computed from {}: {}\n", fmt::join(column.spec.of, ", "), cell.arithmetic);
  if (cell.published) return text + fmt::format("published: {}\n{}, {}\n", citation_of(*cell.published), cell.published->method, cell.published->model);
  if (row.runs.empty()) return text + "nothing was published or measured for this cell\n";
  text += "How it comes about\n\n";
  for (const auto& source : cell.sources) text += source_of(chosen, column, source);
  text += arithmetic_of(cell) + mark_text(cell);
  if (cell.sources.empty() && cell.value) text += fmt::format("  {} runs: {}\n", row.runs.size(), fmt::join(chosen.table.run_ids, ", "));
  if (cell.sources.empty() && !cell.text.empty()) text += "  a text, the same for all runs of the row\n";
  if (cell.sources.empty() && !cell.value && cell.text.empty()) text += "  no run of this row has it\n";
  return text + origins_of(chosen, row);
}

}  // namespace kronlab::analysis
