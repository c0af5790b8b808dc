#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cstdio>
#include <exception>

#include "analysis/commands.hpp"
#include "framework/base/error.hpp"

int main(int argc, char** argv) {
  using namespace kronlab;
  CLI::App app("Reads the record of kronlab runs; only `index` and `gc` write into the store: the index, and what is deleted.", "kronlab-report");
  app.require_subcommand(1);
  analysis::Action chosen;
  analysis::add_index_command(app, chosen);
  analysis::add_list_command(app, chosen);
  analysis::add_status_command(app, chosen);
  analysis::add_show_command(app, chosen);
  analysis::add_log_command(app, chosen);
  analysis::add_tail_command(app, chosen);
  analysis::add_compare_command(app, chosen);
  analysis::add_table_command(app, chosen);
  analysis::add_explain_command(app, chosen);
  analysis::add_check_tables_command(app, chosen);
  analysis::add_html_command(app, chosen);
  analysis::add_plot_command(app, chosen);
  analysis::add_export_command(app, chosen);
  analysis::add_gc_command(app, chosen);
  try {
    app.parse(argc, argv);
    chosen();
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(ExitCode::usage);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kronlab-report: %s\n", error.what());
    return static_cast<int>(exit_code(error));
  }
  return static_cast<int>(ExitCode::done);
}
