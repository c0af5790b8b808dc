#include "experiments/pipeline/machine_rates.hpp"

#include <algorithm>

#include "framework/config/read_toml_file.hpp"
#include "framework/config/strict_table.hpp"

namespace kronlab::experiments {
namespace {

constexpr std::pair<const char*, double MachineRates::*> rate_keys[] = {
    {"gemm_fp32_gflops", &MachineRates::gemm_fp32_gflops},
    {"gemm_bf16_gflops", &MachineRates::gemm_bf16_gflops},
    {"gemm_fp32_narrow_gflops", &MachineRates::gemm_fp32_narrow_gflops},
    {"gemm_bf16_narrow_gflops", &MachineRates::gemm_bf16_narrow_gflops},
    {"gemm_fp64_gflops", &MachineRates::gemm_fp64_gflops},
    {"attention_gflops", &MachineRates::attention_gflops},
    {"elementwise_gb_s", &MachineRates::elementwise_gb_s},
    {"likelihood_glogits_s", &MachineRates::likelihood_glogits_s},
    {"loss_glogits_s", &MachineRates::loss_glogits_s},
    {"memory_gb_s", &MachineRates::memory_gb_s},
    {"load_gb_s", &MachineRates::load_gb_s},
    {"network_gb_s", &MachineRates::network_gb_s},
    {"network_latency_us", &MachineRates::network_latency_us},
    {"disk_gb_s", &MachineRates::disk_gb_s},
    {"hash_gb_s", &MachineRates::hash_gb_s},
    {"other_decompose_gmacs", &MachineRates::other_decompose_gmacs},
    {"other_search_gmacs", &MachineRates::other_search_gmacs},
};

constexpr std::pair<const char*, std::map<std::string, double> MachineRates::*> kind_keys[] = {
    {"decompose_gmacs", &MachineRates::decompose_gmacs}, {"search_gmacs", &MachineRates::search_gmacs}};

constexpr config::Limits<double> positive{.least = 1e-9, .most = 1e9};

double of_kind(const std::map<std::string, double>& rates, const std::string& kind, double other) {
  const auto found = rates.find(kind);
  return found == rates.end() ? other : found->second;
}

}  // namespace

double MachineRates::gemm_gflops(bool is_bf16, double rows, double cols) const {
  const double wide = is_bf16 ? gemm_bf16_gflops : gemm_fp32_gflops;
  const double at_narrow = std::min(wide, is_bf16 ? gemm_bf16_narrow_gflops : gemm_fp32_narrow_gflops);
  // 1 / rate = 1 / wide + lag / extent (Hockney's half-length), through both measurements
  const double lag = narrow * (1 / at_narrow - 1 / wide);
  const double extent = 2 / (1 / rows + 1 / cols);
  return 1 / (1 / wide + lag / extent);
}

double MachineRates::decompose(const std::string& kind) const { return of_kind(decompose_gmacs, kind, other_decompose_gmacs); }
double MachineRates::search(const std::string& kind) const { return of_kind(search_gmacs, kind, other_search_gmacs); }

MachineRates MachineRates::read(const std::string& path) {
  const config::Value file = config::read_toml_file(path);
  const config::Value* table = config::value_at(file, "rates");
  if (!table) throw ConfigError(fmt::format("{}: no [rates]: measure them with `kronlab profile --out FILE.toml`", path));
  const config::StrictTable rates(*table, "rates");
  MachineRates result;
  for (const auto& [key, member] : rate_keys) result.*member = rates.number(key, result.*member, positive);
  for (const auto& [key, member] : kind_keys) {
    const config::Value* kinds = config::value_at(*table, key);
    const auto checked = rates.table_or_empty(key);
    if (!kinds) continue;
    for (const auto& [kind, rate] : *kinds->as<config::Value::Table>()) (result.*member)[kind] = checked.number(kind, positive);
  }
  result.threads = static_cast<int>(rates.integer("threads", result.threads, config::count_from(1)));
  rates.finish();
  result.origin = path;
  return result;
}

config::Value MachineRates::to_value() const {
  config::Value::Table rates;
  for (const auto& [key, member] : rate_keys) rates[key] = this->*member;
  for (const auto& [key, member] : kind_keys) {
    config::Value::Table kinds;
    for (const auto& [kind, rate] : this->*member) kinds[kind] = rate;
    rates[key] = std::move(kinds);
  }
  rates["threads"] = static_cast<Index>(threads);
  return config::Value::Table{{"rates", std::move(rates)}};
}

}  // namespace kronlab::experiments
