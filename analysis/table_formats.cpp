#include "analysis/table_formats.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

#include "framework/base/error.hpp"
#include "framework/base/text_table.hpp"

namespace kronlab::analysis {
namespace {

/// Bytes are shown in the unit that leaves the largest of a column three digits or fewer before the point.
struct Scale {
  double factor = 1.0;
  std::string unit;
};

Scale scale_of(const ResultTable& table, std::size_t c) {
  Scale scale{1.0, table.columns[c].unit};
  if (scale.unit != "B") return scale;
  double largest = 0;
  for (const auto& row : table.rows) largest = std::max(largest, row.cells[c].value.value_or(0));
  for (const char* unit : {"kB", "MB", "GB", "TB"}) {
    if (largest * scale.factor >= 1000) scale = {scale.factor / 1000, unit};
  }
  return scale;
}

std::string shortened(const std::string& text) {
  constexpr std::size_t longest = 40;
  return text.size() <= longest ? text : text.substr(0, longest - 3) + "...";
}

/// The numbers that published values have below the table, in the sequence of their first use.
std::vector<std::string> citations_of(const ResultTable& table) {
  std::vector<std::string> citations;
  for (const auto& row : table.rows) {
    for (const auto& cell : row.cells) {
      if (!cell.published) continue;
      auto citation = citation_of(*cell.published);
      if (std::ranges::find(citations, citation) == citations.end()) citations.push_back(std::move(citation));
    }
  }
  return citations;
}

/// What is not verified is marked with the first letter of what it is.
std::string letter_of(const std::string& certainty) { return certainty == "verified" ? "" : certainty.substr(0, 1); }

/// What stands behind a cell's number.
std::string mark_of(const Cell& cell, const std::vector<std::string>& citations, const Row& row) {
  std::string mark;
  if (cell.published) {
    const auto at = std::ranges::find(citations, citation_of(*cell.published)) - citations.begin();
    mark = fmt::format("[{}]{}", at + 1, letter_of(cell.published->certainty));
  }
  if (!cell.sources.empty() && cell.sources.size() < row.runs.size()) mark += fmt::format(" ({} of {})", cell.sources.size(), row.runs.size());
  if (cell.mark == Mark::tied) mark += " ≈";
  if (cell.mark == Mark::untested) mark += " ?";
  return mark;
}

bool uses(const ResultTable& table, const std::function<bool(const Cell&)>& is_used) {
  return std::ranges::any_of(table.rows, [&](const Row& row) { return std::ranges::any_of(row.cells, is_used); });
}

/// The lines below a table; `best` is how the best is shown.
std::vector<std::string> notes_of(const ResultTable& table, const std::string& best) {
  std::vector<std::string> notes;
  for (const auto& column : table.columns) {
    if (const auto meaning = meaning_of(column); !meaning.empty()) notes.push_back(column.header + ": " + meaning);
  }
  if (uses(table, [](const Cell& cell) { return cell.error_kind == ErrorKind::standard_error; })) {
    notes.emplace_back("±: standard error over the text's windows");
  }
  for (const auto kind : {ErrorKind::deviation, ErrorKind::interval}) {
    if (uses(table, [kind](const Cell& cell) { return cell.error_kind == kind; })) notes.push_back(fmt::format("± of several runs: {}", to_string(kind)));
  }
  if (uses(table, [](const Cell& cell) { return cell.mark == Mark::best; })) notes.push_back(best + ": the best of its column");
  if (uses(table, [](const Cell& cell) { return cell.mark == Mark::tied; })) {
    notes.emplace_back("≈: a paired t-test over windows does not tell it from the best (p > 0.05)");
  }
  if (uses(table, [](const Cell& cell) { return cell.mark == Mark::untested; })) notes.emplace_back("?: no paired test, as windows were not recorded");
  const auto citations = citations_of(table);
  notes.insert(notes.end(), table.notes.begin(), table.notes.end());
  for (std::size_t i = 0; i < citations.size(); ++i) notes.push_back(fmt::format("[{}] {}", i + 1, citations[i]));
  for (const auto& [word, meaning] : certainties) {
    const auto is_so = [&](const Cell& cell) { return cell.published && cell.published->certainty == word; };
    const auto letter = letter_of(word);
    if (uses(table, is_so)) notes.push_back(fmt::format("{}: {}, {}", letter.empty() ? "no letter" : letter, word, meaning));
  }
  return notes;
}

TextTable text_table(const ResultTable& table, TableFormat format) {
  const auto citations = citations_of(table);
  TextTable text;
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    const auto align = table.columns[c].unit.empty() ? TextTable::Align::left : TextTable::Align::right;
    text.columns.push_back({header_with_unit(table, c), align});
  }
  for (const auto& row : table.rows) {
    auto& cells = text.rows.emplace_back();
    for (std::size_t c = 0; c < table.columns.size(); ++c) {
      std::string shown = shortened(cell_text(table, row, c));
      if (row.cells[c].mark == Mark::best) shown = format == TableFormat::markdown ? "**" + shown + "**" : shown + " *";
      cells.push_back(shown + mark_of(row.cells[c], citations, row));
    }
  }
  return text;
}

std::string readable(const ResultTable& table, TableFormat format) {
  const bool is_markdown = format == TableFormat::markdown;
  std::string text = table.title.empty() ? "" : (is_markdown ? "**" + table.title + "**" : table.title) + "\n\n";
  text += text_table(table, format).print(is_markdown ? TextTable::Format::markdown : TextTable::Format::text);
  const auto notes = notes_of(table, is_markdown ? "bold" : "*");
  for (std::size_t i = 0; i < notes.size(); ++i) text += (i == 0 || is_markdown ? "\n" : "") + notes[i] + "\n";
  return text;
}

std::string replaced(const std::string& text, const std::vector<std::pair<std::string, std::string>>& replacements) {
  std::string result;
  for (std::size_t i = 0; i < text.size();) {
    const auto found = std::ranges::find_if(replacements, [&](const auto& pair) { return text.compare(i, pair.first.size(), pair.first) == 0; });
    result += found == replacements.end() ? text.substr(i, 1) : found->second;
    i += found == replacements.end() ? 1 : found->first.size();
  }
  return result;
}

std::string latex_text(const std::string& text) {
  return replaced(text, {{"\\", "\\textbackslash{}"}, {"&", "\\&"}, {"%", "\\%"}, {"$", "\\$"}, {"#", "\\#"}, {"_", "\\_"}, {"{", "\\{"}, {"}", "\\}"},
                         {"~", "\\textasciitilde{}"}, {"^", "\\textasciicircum{}"}, {"<", "\\textless{}"}, {">", "\\textgreater{}"}, {"\n", " "},
                         {"±", "$\\pm$"}, {"≈", "$\\approx$"}, {"·", "$\\cdot$"}});
}

std::string html_text(const std::string& text) {
  return replaced(text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}});
}

std::string latex(const ResultTable& table) {
  const auto citations = citations_of(table);
  std::string text = "% needs \\usepackage{booktabs}\n\\begin{table}\n\\centering\n";
  if (!table.title.empty()) text += "\\caption{" + latex_text(table.title) + "}\n";
  text += "\\begin{tabular}{";
  for (const auto& column : table.columns) text += column.unit.empty() ? 'l' : 'r';
  text += "}\n\\toprule\n";
  for (std::size_t c = 0; c < table.columns.size(); ++c) text += (c > 0 ? " & " : "") + latex_text(header_with_unit(table, c));
  text += " \\\\\n\\midrule\n";
  for (std::size_t r = 0; r < table.rows.size(); ++r) {
    const Row& row = table.rows[r];
    if (r > 0 && (table.rows[r - 1].is_dense != row.is_dense || table.rows[r - 1].is_published != row.is_published)) text += "\\midrule\n";
    for (std::size_t c = 0; c < table.columns.size(); ++c) {
      const Cell& cell = row.cells[c];
      const std::string shown = latex_text(cell_text(table, row, c)), mark = latex_text(mark_of(cell, citations, row));
      text += (c > 0 ? " & " : "") + (cell.mark == Mark::best ? "\\textbf{\\boldmath " + shown + "}" : shown) + (mark.empty() ? "" : "\\," + mark);
    }
    text += " \\\\\n";
  }
  text += "\\bottomrule\n\\end{tabular}\n";
  for (const auto& note : notes_of(table, "bold")) text += "\n{\\footnotesize " + latex_text(note) + "}\n";
  return text + "\\end{table}\n";
}

std::string html(const ResultTable& table) {
  const auto citations = citations_of(table);
  std::string text = "<div class=\"scroll\">\n<table>\n";
  if (!table.title.empty()) text += "<caption>" + html_text(table.title) + "</caption>\n";
  text += "<thead><tr>";
  for (std::size_t c = 0; c < table.columns.size(); ++c) text += "<th>" + html_text(header_with_unit(table, c)) + "</th>";
  text += "</tr></thead>\n<tbody>\n";
  for (const auto& row : table.rows) {
    text += row.is_dense ? "<tr class=\"dense\">" : row.is_published ? "<tr class=\"published\">" : "<tr>";
    for (std::size_t c = 0; c < table.columns.size(); ++c) {
      const Cell& cell = row.cells[c];
      std::string shown = html_text(cell_text(table, row, c));
      if (table.columns[c].spec.show == "label" && !row.is_dense && !row.is_published) {
        shown = "<a href=\"#run-" + html_text(table.run_ids[row.runs.front()]) + "\">" + shown + "</a>";
      }
      if (cell.mark == Mark::best) shown = "<strong>" + shown + "</strong>";
      text += table.columns[c].unit.empty() ? "<td>" : "<td class=\"number\">";
      text += shown + html_text(mark_of(cell, citations, row)) + "</td>";
    }
    text += "</tr>\n";
  }
  text += "</tbody>\n</table>\n</div>\n";
  for (const auto& note : notes_of(table, "bold")) text += "<p class=\"note\">" + html_text(note) + "</p>\n";
  return text;
}

std::string exact(const std::optional<double>& value) { return value ? fmt::format("{}", *value) : ""; }

std::string csv(const ResultTable& table) {
  TextTable text{{{"run ids"}}, {}};
  std::vector<bool> has_error;
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    const Column& column = table.columns[c];
    const std::string meaning = meaning_of(column), place = meaning.empty() ? "" : " (" + meaning + ")";
    const std::string unit = column.unit.empty() || column.unit == "1" ? "" : " [" + column.unit + "]";
    text.columns.push_back({column.header + unit + place});
    has_error.push_back(std::ranges::any_of(table.rows, [c](const Row& row) { return row.cells[c].error.has_value(); }));
    if (has_error.back()) text.columns.push_back({column.header + " error" + unit + place}), text.columns.push_back({column.header + " error is"});
  }
  for (const auto& row : table.rows) {
    std::vector<std::string> ids, cells;
    for (const auto run : row.runs) ids.push_back(table.run_ids[run]);
    cells.push_back(fmt::format("{}", fmt::join(ids, " ")));
    for (std::size_t c = 0; c < table.columns.size(); ++c) {
      const Cell& cell = row.cells[c];
      cells.push_back(!cell.text.empty() ? (cell.text == "-" ? "" : cell.text) : exact(cell.value));
      if (has_error[c]) cells.push_back(exact(cell.error)), cells.push_back(cell.error ? to_string(cell.error_kind) : "");
    }
    text.rows.push_back(std::move(cells));
  }
  return text.print(TextTable::Format::csv);
}

const char* word_of(Mark mark) {
  switch (mark) {
    case Mark::best: return "best";
    case Mark::tied: return "tied";
    case Mark::untested: return "untested";
    case Mark::none: break;
  }
  return nullptr;
}

Json json_published(const PublishedValue& value) {
  return {{"method", value.method},   {"model", value.model},         {"setting", value.setting}, {"metric", value.metric},
          {"dataset", value.dataset}, {"protocol", value.protocol},   {"source", value.source},   {"place", value.place},
          {"certainty", value.certainty}, {"note", value.note}};
}

Json json_cell(const ResultTable& table, const Cell& cell) {
  if (!cell.value) return cell.text.empty() ? Json(nullptr) : Json{{"text", cell.text}};
  Json json = {{"value", json_number(cell.value)}};
  if (cell.error) json["error"] = json_number(cell.error), json["error_is"] = to_string(cell.error_kind);
  if (const char* mark = word_of(cell.mark)) json["mark"] = mark;
  if (cell.p_value) json["p"] = json_number(cell.p_value);
  if (cell.published) json["published"] = json_published(*cell.published);
  if (!cell.arithmetic.empty()) json["computed"] = cell.arithmetic;
  for (const auto& source : cell.sources) {
    json["sources"].push_back({{"run", table.run_ids[source.run]}, {"value", json_number(source.value.value)},
                               {"standard_error", json_number(source.value.standard_error)}, {"stage", source.value.stage}, {"step", source.value.step}});
  }
  return json;
}

}  // namespace

std::string to_string(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::standard_error: return "standard error";
    case ErrorKind::deviation: return "standard deviation";
    case ErrorKind::interval: return "half of the 95 % interval of the mean";
    case ErrorKind::none: break;
  }
  return "";
}

std::string header_with_unit(const ResultTable& table, std::size_t column) {
  const std::string unit = scale_of(table, column).unit;
  return unit.empty() || unit == "1" ? table.columns[column].header : fmt::format("{} [{}]", table.columns[column].header, unit);
}

std::string cell_text(const ResultTable& table, const Row& row, std::size_t c) {
  const Column& column = table.columns[c];
  const Cell& cell = row.cells[c];
  if (!cell.value) return cell.text.empty() ? "-" : cell.text;
  const auto [factor, unit] = scale_of(table, c);
  const double value = *cell.value * factor;
  if (unit != column.unit) return fmt::format("{:.1f}", value);
  const bool is_count = value == std::floor(value) && cell.error.value_or(0) == 0;
  if (column.spec.show == "speed/ratio" && !column.spec.digits) return fmt::format("{:.2f}x", value);
  if (column.spec.digits) return format_number(value, static_cast<int>(*column.spec.digits));
  if (is_count && column.unit == "1" && std::abs(value) < 1e15) return format_count(value);
  if (cell.error == 0.0) return format_number(value) + " ± 0";
  if (cell.error) return storage::format_value(storage::Value{value, cell.error, -1, 0});
  return format_number(value, cell.published ? 6 : column.spec.show.find('/') == std::string::npos ? 4 : 5);
}

std::string print_table(const ResultTable& table, TableFormat format) {
  switch (format) {
    case TableFormat::latex: return latex(table);
    case TableFormat::html: return html(table);
    case TableFormat::csv: return csv(table);
    default: return readable(table, format);
  }
}

Json json_table(const ResultTable& table) {
  Json json = {{"title", table.title}, {"columns", Json::array()}, {"rows", Json::array()}, {"notes", table.notes}};
  for (const auto& column : table.columns) {
    Json entry = {{"header", column.header}, {"show", column.spec.show}, {"unit", column.unit}};
    if (column.measure) entry["dataset"] = column.measure->dataset, entry["protocol"] = column.measure->protocol;
    if (!column.spec.text.empty()) entry["text"] = column.spec.text;
    json["columns"].push_back(std::move(entry));
  }
  for (const auto& row : table.rows) {
    Json entry = {{"label", row.label}, {"dense", row.is_dense}, {"published", row.is_published}, {"runs", Json::array()}, {"cells", Json::array()}};
    for (const auto run : row.runs) entry["runs"].push_back(table.run_ids[run]);
    for (const auto& cell : row.cells) entry["cells"].push_back(json_cell(table, cell));
    json["rows"].push_back(std::move(entry));
  }
  return json;
}

}  // namespace kronlab::analysis
