#include "analysis/html_page.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "analysis/table_formats.hpp"
#include "framework/base/progress.hpp"
#include "framework/base/text_table.hpp"

namespace kronlab::analysis {
namespace {

constexpr const char* style = R"css(
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --faint: #666; --line: #ccc; --shade: #f3f3f3; --link: #0b57a4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --paper: #161616; --faint: #a0a0a0; --line: #444; --shade: #222; --link: #8ab8f0; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 72rem; color: var(--ink); background: var(--paper); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1rem 0 .25rem; }
a { color: var(--link); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: .25rem; }
th, td { padding: .25rem .6rem; text-align: left; white-space: nowrap; }
thead th { border-bottom: 2px solid var(--ink); }
td { border-bottom: 1px solid var(--line); }
td.number { text-align: right; }
tr.dense td, tr.published td { color: var(--faint); }
.note { margin: .15rem 0; font-size: .8rem; color: var(--faint); }
figure { margin: 1rem 0; }
figure img { max-width: 100%; height: auto; background: #fff; }
details { border: 1px solid var(--line); border-radius: .3rem; margin: .4rem 0; padding: .3rem .6rem; }
details:target { border-color: var(--link); }
summary { cursor: pointer; }
pre { overflow-x: auto; background: var(--shade); padding: .5rem; font-size: .8rem; overflow-wrap: normal; }
@media print { details { break-inside: avoid; } }
)css";

std::string escaped(const std::string& text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&': result += "&amp;"; break;
      case '<': result += "&lt;"; break;
      case '>': result += "&gt;"; break;
      case '"': result += "&quot;"; break;
      default: result += c;
    }
  }
  return result;
}

std::string base64(const std::string& bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int length = ::EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), reinterpret_cast<const unsigned char*>(bytes.data()),
                                       static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(length));
  return text;
}

std::string plain_table(const TextTable& table) {
  if (table.rows.empty()) return {};
  std::string text = "<div class=\"scroll\"><table><thead><tr>";
  for (const auto& column : table.columns) text += "<th>" + escaped(column.header) + "</th>";
  text += "</tr></thead><tbody>\n";
  for (const auto& row : table.rows) {
    text += "<tr>";
    for (std::size_t c = 0; c < row.size(); ++c) {
      text += (table.columns[c].align == TextTable::Align::right ? "<td class=\"number\">" : "<td>") + escaped(row[c]) + "</td>";
    }
    text += "</tr>\n";
  }
  return text + "</tbody></table></div>\n";
}

using Align = TextTable::Align;

std::string layers_of(const storage::RunReader& run) {
  TextTable table{{{"stage", Align::right}, {"layer"}, {"method"}, {"shape"}, {"parameters", Align::right}, {"after", Align::right},
                   {"rel. error", Align::right}, {"weighted error", Align::right}, {"time [s]", Align::right}}, {}};
  for (const auto& layer : run.layers()) {
    table.rows.push_back({std::to_string(layer.stage), layer.layer, layer.method, fmt::format("{} x {}", layer.rows, layer.cols),
                          format_count(static_cast<double>(layer.parameters_before)), format_count(static_cast<double>(layer.parameters_after)),
                          format_number(layer.relative_error, 4), layer.weighted_error ? format_number(*layer.weighted_error, 4) : "-",
                          format_number(layer.seconds, 3)});
  }
  return table.rows.empty() ? "" : "<h3>Layers</h3>\n" + plain_table(table);
}

/// Of each measure the last value of each stage.
std::string metrics_of(const storage::RunReader& run) {
  TextTable table{{{"metric"}, {"stage", Align::right}, {"step", Align::right}, {"value", Align::right}, {"unit"}, {"data set"}, {"protocol"}}, {}};
  const auto metrics = run.metrics();
  std::map<std::tuple<std::string, Index, std::string, std::string>, const Metric*> last;
  for (const auto& metric : metrics) {
    if (metric.layer.empty()) last[{metric.name, metric.stage, metric.dataset, metric.protocol}] = &metric;
  }
  for (const auto& [key, metric] : last) {
    table.rows.push_back({metric->name, metric->stage < 0 ? "dense" : std::to_string(metric->stage), std::to_string(metric->step),
                          storage::format_value(storage::Value{metric->value, metric->standard_error, -1, 0}), metric->unit, metric->dataset, metric->protocol});
  }
  return table.rows.empty() ? "" : "<h3>Last metrics of each stage</h3>\n" + plain_table(table);
}

std::string provenance_of(const storage::RunDescription& description) {
  TextTable table{{{"provenance"}, {"value"}}, {}};
  for (const auto& [name, value] : description.provenance) {
    if (!value.empty() && value.find('\n') == std::string::npos) table.rows.push_back({name, value});
  }
  return plain_table(table);
}

std::string section_of(const storage::RunReader& run, const std::string& page_folder) {
  const auto description = run.description();
  const auto status = run.status();
  std::error_code code;
  const auto folder = std::filesystem::relative(run.folder(), page_folder.empty() ? "." : page_folder, code);
  const std::string link = code || folder.empty() ? run.folder().string() : folder.string();
  std::string text = fmt::format("<details id=\"run-{0}\"><summary>{1}: {2}, {3}</summary>\n<p>Run <a href=\"{4}/\">{0}</a>, {5}, cell {6}</p>\n",
                                 escaped(run.id()), escaped(label_of(description)), storage::to_string(status.state), format_duration(status.seconds),
                                 escaped(link), escaped(status.created_at), escaped(description.cell.substr(0, 16)));
  if (!status.reason.empty()) text += "<p>" + escaped(status.reason) + "</p>\n";
  text += layers_of(run) + metrics_of(run);
  text += "<h3>Configuration</h3>\n<pre>" + escaped(description.config_toml) + "</pre>\n<h3>Provenance</h3>\n" + provenance_of(description);
  return text + "</details>\n";
}

/// All runs of all tables, each once.
std::map<std::string, const storage::RunReader*> runs_of(const std::vector<ChosenTable>& tables) {
  std::map<std::string, const storage::RunReader*> runs;
  for (const auto& table : tables) {
    for (const auto& run : table.runs) runs.emplace(run.id(), &run);
  }
  return runs;
}

std::string introduction(const std::map<std::string, const storage::RunReader*>& runs) {
  std::map<std::string, int> states;
  double seconds = 0;
  std::string last, question, paper;
  for (const auto& [id, run] : runs) {
    const auto status = run->status();
    const auto description = run->description();
    ++states[storage::to_string(status.state)];
    seconds += status.seconds;
    last = std::max(last, status.updated_at);
    if (question.empty()) question = description.question, paper = description.paper;
  }
  std::string counts;
  for (const auto& [state, count] : states) counts += fmt::format("{}{} {}", counts.empty() ? "" : ", ", count, state);
  std::string text;
  if (!question.empty()) text += "<p>" + escaped(question) + "</p>\n";
  if (!paper.empty()) text += "<p class=\"note\">Paper: " + escaped(paper) + "</p>\n";
  return text + fmt::format("<p class=\"note\">{} runs ({}), {} of work, last record {}</p>\n", runs.size(), counts, format_duration(seconds), escaped(last));
}

}  // namespace

std::string html_page(const std::string& title, const std::vector<ChosenTable>& tables, const std::vector<Picture>& pictures,
                      const std::string& page_folder) {
  const auto runs = runs_of(tables);
  std::string text = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                     "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<link rel=\"icon\" href=\"data:,\">\n<title>" +
                     escaped(title) + "</title>\n<style>" + style + "</style>\n</head>\n<body>\n<h1>" + escaped(title) + "</h1>\n" + introduction(runs);
  text += "<h2>Results</h2>\n";
  for (const auto& table : tables) text += print_table(table.table, TableFormat::html);
  if (!pictures.empty()) text += "<h2>Pictures</h2>\n";
  for (const auto& picture : pictures) {
    text += fmt::format("<figure><img alt=\"{0}\" src=\"data:image/svg+xml;base64,{1}\"><figcaption class=\"note\">{0}</figcaption></figure>\n", escaped(picture.title),
                        base64(picture.svg));
  }
  text += "<h2>Runs</h2>\n";
  for (const auto& [id, run] : runs) text += section_of(*run, page_folder);
  return text + "</body>\n</html>\n";
}

}  // namespace kronlab::analysis
