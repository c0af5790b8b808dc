#include "slurm/machine.hpp"

#include <fmt/format.h>

#include "framework/config/strict_table.hpp"
#include "slurm/slurm_units.hpp"

namespace kronlab::slurm {
namespace {

using config::count_from;
using config::StrictTable;

std::optional<Index> time_of(const StrictTable& table, const std::string& key) {
  if (!table.has(key)) return std::nullopt;
  const auto seconds = parse_time(table.text(key));
  if (!seconds || *seconds < 60)
    table.fail(key, fmt::format("'{}' is no time of a minute or more; expected \"90\" (minutes), \"02:30:00\" or \"1-12:00:00\"", table.text(key)));
  return seconds;
}

std::optional<Index> memory_of(const StrictTable& table, const std::string& key) {
  if (!table.has(key)) return std::nullopt;
  const auto mib = parse_memory(table.text(key));
  if (!mib || *mib < 1) table.fail(key, fmt::format("'{}' is no amount of memory; expected \"4000M\" or \"16G\"", table.text(key)));
  return mib;
}

/// A text that stands in a line of a job script.
std::string line_of(const StrictTable& table, const std::string& key, const std::string& text, const std::string& forbidden) {
  if (text.find_first_of(forbidden + "\n\r") != std::string::npos) table.fail(key, fmt::format("'{}' cannot stand in a job script", text));
  return text;
}

std::vector<std::string> lines_of(const StrictTable& table, const std::string& key) {
  std::vector<std::string> lines = table.has(key) ? table.texts(key) : std::vector<std::string>();
  for (const auto& line : lines) line_of(table, key, line, "");
  return lines;
}

}  // namespace

Machine Machine::read(const config::Value& file) {
  const StrictTable table(file);
  Machine m;
  for (const auto& [key, member] :
       {std::pair{"partition", &Machine::partition}, {"account", &Machine::account}, {"qos", &Machine::qos}, {"constraint", &Machine::constraint}}) {
    m.*member = line_of(table, key, table.text(key, ""), "\"'\\");
  }
  m.options = lines_of(table, "options");
  m.ranks = table.integer("ranks", count_from(1));
  m.threads = table.integer("threads", count_from(1));
  m.nodes = table.integer("nodes", count_from(1));
  if (m.nodes > m.ranks) table.fail("nodes", fmt::format("{} nodes for {} rank(s): a node has at least one", m.nodes, m.ranks));
  m.time_s = time_of(table, "time");
  m.memory_mib = memory_of(table, "memory");
  m.time_margin = table.number("time_margin", {.least = 1.0, .most = 100.0});
  m.memory_margin = table.number("memory_margin", {.least = 1.0, .most = 100.0});
  m.launcher = table.choice("launcher", {"auto", "srun", "mpirun"});
  m.scratch = line_of(table, "scratch", table.text("scratch"), "\"`\\");
  m.setup = lines_of(table, "setup");
  m.signal_s = table.integer("signal_s", {.least = 10, .most = 65535});  // Slurm's limit
  m.max_restarts = table.integer("max_restarts", count_from(0));
  if (m.time_s && *m.time_s <= m.signal_s)
    table.fail("time", fmt::format("{} is not longer than signal_s, {} seconds before the limit", time_text(*m.time_s), m.signal_s));
  if (const auto node = table.find_table("node")) {
    m.node = {node->find_integer("cores", count_from(1)), memory_of(*node, "memory"), time_of(*node, "time_limit")};
  }
  m.has_rates = table.has("rates");
  table.finish();
  return m;
}

}  // namespace kronlab::slurm
