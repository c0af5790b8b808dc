#pragma once

#include <map>
#include <string>

#include "framework/config/value.hpp"

namespace kronlab::experiments {

/// What a machine does in a second: `[rates]` of a machine file, measured by `kronlab profile`. Those of computing and of
/// memory are of one core while all ranks work; 1 GFLOP/s is 1e9 additions and multiplications a second, 1 GB/s 1e9 bytes.
struct MachineRates {
  double gemm_fp32_gflops = 50, gemm_bf16_gflops = 50;  ///< products of extents in the thousands
  double gemm_fp32_narrow_gflops = 40, gemm_bf16_narrow_gflops = 40;  ///< of weights of `narrow` x `narrow`
  double gemm_fp64_gflops = 25;      ///< Gram matrices
  double attention_gflops = 30;      ///< the causal half counted
  double elementwise_gb_s = 5;       ///< norms and activations: bytes read and written
  double likelihood_glogits_s = 0.3; ///< 1e9 logits whose log-likelihood is taken
  double loss_glogits_s = 0.1;       ///< 1e9 logits of a student compared with a teacher's, with the gradient
  double memory_gb_s = 8;            ///< a += s b: bytes read and written
  double load_gb_s = 1;              ///< float32 bytes of a model made from its file in the system's cache
  double network_gb_s = 1;           ///< into or out of one rank, while all others exchange too
  double network_latency_us = 20;    ///< of a short message
  double disk_gb_s = 0.5;            ///< read from or written to, by one process
  double hash_gb_s = 0.5;            ///< SHA-256
  /// By kind, what a decomposer or permutation search does of what its cost() counts: 1e9 multiply-adds a second.
  std::map<std::string, double> decompose_gmacs, search_gmacs;
  double other_decompose_gmacs = 5, other_search_gmacs = 5;  ///< of kinds that were not measured
  int threads = 1;           ///< of a rank when they were measured
  std::string origin;        ///< the file; empty: these are assumptions about an ordinary cluster

  static constexpr double narrow = 512;
  bool is_measured() const { return !origin.empty(); }
  /// Of the product of many tokens with a weight of these extents: the time per operation falls with their harmonic mean.
  double gemm_gflops(bool is_bf16, double rows, double cols) const;
  double decompose(const std::string& kind) const;
  double search(const std::string& kind) const;

  /// The table `[rates]` of a machine file, whose other tables belong to others; a rate that is not there is as above.
  /// @throws ConfigError on a file that cannot be read, no such table, an unknown key, or a rate that is not positive
  static MachineRates read(const std::string& path);
  /// `{ rates = {...} }`, which `read` reads back.
  config::Value to_value() const;
};

}  // namespace kronlab::experiments
