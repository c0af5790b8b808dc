#include "analysis/text_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "framework/base/error.hpp"

namespace kronlab::analysis {
namespace {

std::string padded(const std::string& text, std::size_t width, TextTable::Align align) {
  const std::string blanks(width - std::min(width, display_width(text)), ' ');
  return align == TextTable::Align::left ? text + blanks : blanks + text;
}

std::string markdown_cell(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '|') escaped += '\\';
    escaped += c == '\n' ? ' ' : c;
  }
  return escaped;
}

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + '"';
}

std::string csv(const TextTable& table) {
  std::string text;
  const auto add = [&](const std::string& cell, bool is_last) { text += csv_cell(cell) + (is_last ? "\n" : ","); };
  for (std::size_t c = 0; c < table.columns.size(); ++c) add(table.columns[c].header, c + 1 == table.columns.size());
  for (const auto& row : table.rows) {
    for (std::size_t c = 0; c < row.size(); ++c) add(row[c], c + 1 == row.size());
  }
  return text;
}

std::string aligned(const TextTable& table, bool is_markdown) {
  std::vector<std::vector<std::string>> cells = {{}};
  for (const auto& column : table.columns) cells.front().push_back(column.header);
  cells.insert(cells.end(), table.rows.begin(), table.rows.end());
  std::vector<std::size_t> widths(table.columns.size(), 3);
  for (auto& row : cells) {
    for (std::size_t c = 0; c < row.size(); ++c) {
      row[c] = is_markdown ? markdown_cell(row[c]) : row[c];
      widths[c] = std::max(widths[c], display_width(row[c]));
    }
  }
  std::string text;
  for (std::size_t r = 0; r < cells.size(); ++r) {
    std::string line = is_markdown ? "|" : "";
    for (std::size_t c = 0; c < widths.size(); ++c) {
      const std::string cell = padded(cells[r][c], widths[c], table.columns[c].align);
      line += is_markdown ? " " + cell + " |" : (c > 0 ? "  " : "") + cell;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
    if (r > 0) continue;
    std::string rule = is_markdown ? "|" : "";
    for (std::size_t c = 0; c < widths.size(); ++c) {
      const bool is_right = table.columns[c].align == TextTable::Align::right;
      if (is_markdown) {
        rule += " " + std::string(widths[c] - (is_right ? 1 : 0), '-') + (is_right ? ": |" : " |");
      } else {
        rule += (c > 0 ? "  " : "") + std::string(widths[c], '-');
      }
    }
    text += rule + "\n";
  }
  return text;
}

}  // namespace

std::string TextTable::print(Format format) const {
  for (const auto& row : rows) {
    KRONLAB_EXPECTS(row.size() == columns.size(), "a row of {} cells in a table of {} columns", row.size(),
                    columns.size());
  }
  return format == Format::csv ? csv(*this) : aligned(*this, format == Format::markdown);
}

std::size_t display_width(std::string_view text) {
  // All but the bytes that continue a character.
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U; }));
}

std::string format_number(double value, int digits) { return fmt::format("{:.{}g}", value, digits); }

std::string format_count(double value) {
  if (!std::isfinite(value) || std::abs(value) > 1e15 || value != std::floor(value)) return format_number(value, 6);
  std::string text = fmt::format("{:.0f}", std::abs(value));
  for (auto i = static_cast<std::ptrdiff_t>(text.size()) - 3; i > 0; i -= 3)
    text.insert(static_cast<std::size_t>(i), ",");
  return value < 0 ? "-" + text : text;
}

std::string format_bytes(double bytes) {
  if (!std::isfinite(bytes)) return format_number(bytes);
  const char* const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  std::size_t unit = 0;
  for (; std::abs(bytes) >= 1000.0 && unit + 1 < std::size(units); ++unit) bytes /= 1000.0;
  return unit == 0 ? fmt::format("{:.0f} B", bytes) : fmt::format("{:.1f} {}", bytes, units[unit]);
}

}  // namespace kronlab::analysis
