#include "analysis/paired_marks.hpp"

#include <algorithm>
#include <cmath>

#include "framework/base/error.hpp"
#include "framework/base/window_loss.hpp"

namespace kronlab::analysis {
namespace {

constexpr double significant_p = 0.05;

/// The windows of a cell, averaged over its runs; none where a run has none, or other ones.
std::vector<WindowLoss> windows_of(const Cell& cell, const Column& column, const Measured& measured) {
  std::vector<WindowLoss> mean;
  for (const auto& source : cell.sources) {
    const auto* evaluation = evaluation_of(measured.evaluations[source.run], *column.measure, source.value);
    if (!evaluation || (!mean.empty() && mean.size() != evaluation->windows.size())) return {};
    if (mean.empty()) mean.assign(evaluation->windows.size(), {});
    for (std::size_t w = 0; w < mean.size(); ++w) {
      if (mean[w].weight != 0 && mean[w].weight != evaluation->windows[w].weight) return {};
      mean[w].weight = evaluation->windows[w].weight;
      mean[w].loss += evaluation->windows[w].loss / static_cast<double>(cell.sources.size());
    }
  }
  return mean;
}

bool has_losses(const Column& column) {
  return column.measure && (column.measure->name == "eval/perplexity" || column.measure->name == "eval/mean_nll");
}

void mark_against(const Cell& best, Cell& cell, const Column& column, const Measured& measured) {
  try {
    const auto test = paired_difference(windows_of(best, column, measured), windows_of(cell, column, measured));
    if (std::isnan(test.p_value)) return;
    cell.p_value = test.p_value;
    if (test.p_value > significant_p) cell.mark = Mark::tied;
  } catch (const DataError&) {
    cell.mark = Mark::untested;
  }
}

}  // namespace

void mark_best(ResultTable& table, const storage::Results& results, const Measured& measured) {
  const auto is_done = [&](const Row& row) {
    return std::ranges::all_of(row.runs, [&](std::size_t run) {
      const auto found = std::ranges::find_if(results.rows, [&](const auto& of_run) { return !of_run.is_dense && of_run.run == run; });
      return found != results.rows.end() && found->state == "done";
    });
  };
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    const Column& column = table.columns[c];
    if (column.better == Better::none) continue;
    std::vector<Cell*> cells;
    for (auto& row : table.rows) {
      Cell& cell = row.cells[c];
      if (!row.is_dense && cell.value && std::isfinite(*cell.value) && is_done(row)) cells.push_back(&cell);
    }
    if (cells.size() < 2) continue;
    const auto value = [](const Cell* cell) { return *cell->value; };
    const Cell& best = column.better == Better::lower ? **std::ranges::min_element(cells, {}, value) : **std::ranges::max_element(cells, {}, value);
    for (Cell* cell : cells) {
      if (cell->value == best.value) {
        cell->mark = Mark::best;
      } else if (has_losses(column)) {
        mark_against(best, *cell, column, measured);
      }
    }
  }
}

}  // namespace kronlab::analysis
