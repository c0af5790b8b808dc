// What `kronlab check` predicts of a run, and what the run takes: [mpirun -n N] bench_scale_prediction MODEL TEXT [PRECISION [BLOCKS]]
// The rates are measured first, by the same ranks; then calibration, whitened SVDs of the MLPs of some blocks, a permuted
// Kronecker sum, a short distillation, and evaluations. Time, bytes moved by MPI and peak memory. Where other programs run, the
// time on the clock says nothing: the processor time of ranks of one thread does, but counts waiting for messages too.
#include <malloc.h>
#include <omp.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include "experiments/pipeline/measure_rates.hpp"
#include "experiments/pipeline/model_access.hpp"
#include "experiments/pipeline/run_experiment.hpp"
#include "experiments/pipeline/scale_estimate.hpp"
#include "framework/base/hash.hpp"
#include "framework/base/progress.hpp"
#include "framework/comm/machine.hpp"
#include "framework/storage/run_reader.hpp"
#include "tests/bench/measurement.hpp"
#include "tests/support/mpi_traffic.hpp"

namespace {

using namespace kronlab;
using namespace kronlab::experiments;
namespace fs = std::filesystem;

std::string experiment(const std::string& model, const std::string& text, const std::string& precision, int num_blocks) {
  return fmt::format(R"([experiment]
name = "scale"
precision = "{2}"
[model]
path = "{0}"
[data]
calibration = {{ path = "{1}", tokens = 8192 }}
distillation = {{ path = "{1}", window = 512 }}
[[evaluate]]
dataset = {{ name = "text", path = "{1}" }}
protocol = {{ window = 1024, stride = 1024 }}
max_windows = 4
[[stage]]
layers = ["layers.{{{3}..{4}}}.mlp.*"]
decompose = {{ kind = "whitened-svd", keep = 0.5 }}
distill = {{ steps = 2, batch_tokens = 2048, micro_batch = 1, losses = {{ kl = 1.0, ce = 0.5 }}, train = "factors", lr = 1e-3 }}
[[stage]]
layers = ["layers.{3}.self_attn.{{q,o}}_proj"]
decompose = {{ kind = "kronecker", right_rows = 2, right_cols = 4, num_terms = 4 }}
permute = {{ kind = "swap-descent", weighting = "inputs" }}
)",
                     model, text, precision, 2, 1 + num_blocks);
}

/// Seconds of all cores that this process has used.
double processor_s() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) { return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec); };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// The largest resident memory is counted from now on.
void forget_peak_memory() {
  ::malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << 5;
}

/// Seconds that the record has of a run's parts, by part.
std::map<std::string, double> recorded_seconds(const std::string& run_folder) {
  const storage::RunReader run(run_folder);
  std::map<std::string, double> seconds, tokens;
  for (const auto& metric : run.metrics()) {
    const std::string place = fmt::format("{} {} {}", metric.stage, metric.step, metric.dataset);
    if (metric.name == "eval/predicted_tokens") tokens[place] = metric.value;
    if (metric.name == "distill/seconds") seconds["distillation"] += metric.value;
  }
  for (const auto& metric : run.metrics()) {
    if (metric.name != "eval/tokens_per_second") continue;
    seconds["evaluation"] += tokens[fmt::format("{} {} {}", metric.stage, metric.step, metric.dataset)] / metric.value;
  }
  return seconds;
}

void print_row(const char* what, double predicted, double measured, const char* unit) {
  std::printf("%-36s %14.4g %14.4g %6.3f  %s\n", what, predicted, measured, predicted / measured, unit);
}

double predicted_seconds(const ScaleEstimate& estimate, const std::string& part) {
  double seconds = 0;
  for (const auto& p : estimate.parts) {
    if (p.name == part) seconds += p.seconds;
  }
  return seconds;
}

int compare(const comm::Communicator& world, const std::string& model, const std::string& text, const std::string& precision, int num_blocks) {
  const int threads = comm::threads_per_rank(world, comm::Oversubscription::allowed);
  omp_set_num_threads(threads);
  const fs::path folder = world.broadcast((fs::temp_directory_path() / fmt::format("kronlab-bench-scale-{}", ::getpid())).string());
  if (world.is_root()) fs::create_directories(folder);
  world.barrier();
  const auto run = config::expand_sweep(config::parse_toml(experiment(model, text, precision, num_blocks), "bench")).front();
  const auto rates = measure_rates(world, folder.string(), threads);
  if (world.is_root()) std::printf("%s", config::to_toml(rates.to_value()).c_str());
  const auto spec = ExperimentSpec::read(run.config, ".");
  const ModelAccess access(spec.model.path);
  double bytes = 0;
  for (const auto& tensor : access.files().tensors().tensors()) bytes += static_cast<double>(tensor.stored_bytes);
  const auto estimate = estimate_scale(spec, CompressionPlan::make(spec, access.config()), bytes, rates, world.size(), threads);
  forget_peak_memory();
  testing::reset_mpi_traffic();
  world.barrier();
  const double started = now_s(), processor_started = processor_s();
  const auto summary = run_experiment(world, run, {(folder / "store").string(), ".", {"bench"}, threads});
  const double seconds = world.max(now_s() - started), memory = world.max(bench::peak_memory().mib * 1024 * 1024);
  const double processor = world.max(processor_s() - processor_started);
  double received = testing::received_mpi_bytes();
  world.sum(std::span<double>(&received, 1));
  if (world.is_root()) {
    std::printf("%d rank(s) of %d thread(s), %s, %d blocks\n%-36s %14s %14s %6s\n", world.size(), threads, precision.c_str(), num_blocks, "", "predicted",
                "measured", "ratio");
    print_row("time, whole run", estimate.seconds(), seconds, "s");
    const auto recorded = recorded_seconds(summary.folder);
    for (const auto& [part, measured] : recorded) print_row(("time, " + part).c_str(), predicted_seconds(estimate, part), measured, "s");
    double rest = seconds, rest_predicted = estimate.seconds();
    for (const auto& [part, measured] : recorded) rest -= measured, rest_predicted -= predicted_seconds(estimate, part);
    print_row("time, the rest", rest_predicted, rest, "s");
    print_row("processor time of a rank", estimate.seconds() * threads, processor, "s");
    double load = 0;
    ::getloadavg(&load, 1);
    std::printf("the load average is %.1f on %ld cores: %s\n", load, ::sysconf(_SC_NPROCESSORS_ONLN),
                load > 1.2 * world.size() * threads || load > 1.2 * static_cast<double>(::sysconf(_SC_NPROCESSORS_ONLN))
                    ? "not quiet, believe the processor time"
                    : "quiet");
    print_row("peak memory of a rank", estimate.memory_bytes(), memory, "B");
    if (world.size() > 1) print_row("bytes moved by MPI", estimate.moved_bytes(), received, "B");
    for (const auto& p : estimate.parts) std::printf("  predicted %-16s stage %2ld %9.3f s\n", p.name.c_str(), static_cast<long>(p.stage), p.seconds);
    fs::remove_all(folder);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "[mpirun -n N] bench_scale_prediction MODEL TEXT [fp32|bf16 [BLOCKS]]\n");
    return 2;
  }
  return comm::run(argc, argv, [&](const comm::Communicator& world) {
    return compare(world, fs::absolute(argv[1]).string(), fs::absolute(argv[2]).string(), argc > 3 ? argv[3] : "fp32", argc > 4 ? std::atoi(argv[4]) : 4);
  });
}
