#pragma once

#include <functional>

namespace CLI {
class App;
}

namespace kronlab::analysis {

/// What a subcommand does once its arguments are parsed.
using Action = std::function<void()>;

// Each adds one subcommand to `app`; the action that the user chose is put into `chosen`.
void add_index_command(CLI::App& app, Action& chosen);
void add_list_command(CLI::App& app, Action& chosen);
void add_status_command(CLI::App& app, Action& chosen);
void add_log_command(CLI::App& app, Action& chosen);
void add_tail_command(CLI::App& app, Action& chosen);
void add_compare_command(CLI::App& app, Action& chosen);
void add_show_command(CLI::App& app, Action& chosen);
void add_table_command(CLI::App& app, Action& chosen);
void add_explain_command(CLI::App& app, Action& chosen);
void add_check_tables_command(CLI::App& app, Action& chosen);
void add_html_command(CLI::App& app, Action& chosen);
void add_plot_command(CLI::App& app, Action& chosen);
void add_export_command(CLI::App& app, Action& chosen);
void add_gc_command(CLI::App& app, Action& chosen);

}  // namespace kronlab::analysis
