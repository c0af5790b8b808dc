#include "analysis/metrics_file.hpp"

#include "analysis/json_output.hpp"
#include "analysis/output_file.hpp"
#include "analysis/run_selection.hpp"
#include "framework/base/error.hpp"

namespace kronlab::analysis {
namespace {

Index write_csv(const std::vector<storage::RunReader>& runs, OutputFile& file) {
  file.write("run,label,name,value,unit,stage,step,layer,dataset,protocol,standard_error\n");
  Index count = 0;
  for (const auto& run : runs) {
    const std::string label = csv_cell(label_of(run.description()));
    run.visit_metrics(0, [&](const Metric& m) {
      file.print("{},{},{},{},{},{},{},{},{},{},{}\n", run.id(), label, csv_cell(m.name), m.value, csv_cell(m.unit), m.stage, m.step, csv_cell(m.layer),
                 csv_cell(m.dataset), csv_cell(m.protocol), m.standard_error ? fmt::format("{}", *m.standard_error) : "");
      ++count;
    });
  }
  return count;
}

Index write_json(const std::vector<storage::RunReader>& runs, OutputFile& file) {
  Index count = 0;
  file.write("[");
  for (const auto& run : runs) {
    const std::string label = label_of(run.description());
    run.visit_metrics(0, [&](const Metric& metric) {
      Json json = {{"run", run.id()}, {"label", label}};
      json.update(json_metric(metric));
      file.write(count++ > 0 ? ",\n" : "\n");
      file.write(json.dump(-1, ' ', false, Json::error_handler_t::replace));
    });
  }
  file.write("\n]\n");
  return count;
}

}  // namespace

Index write_metrics_file(const std::vector<storage::RunReader>& runs, const std::filesystem::path& path) {
  const std::string kind = path.extension().string();
  if (kind != ".csv" && kind != ".json") throw ConfigError(fmt::format("--metrics '{}': expected a file that ends with .csv or .json", path.string()));
  OutputFile file(path);
  const Index count = kind == ".csv" ? write_csv(runs, file) : write_json(runs, file);
  file.finish();
  return count;
}

}  // namespace kronlab::analysis
