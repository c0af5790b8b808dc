// Permutation searches on real weights, on one core: error, seconds, candidate swaps a second.
//   bench_permutation FILE 'kind = "anneal"' ['kind = ...' ...]
// FILE: a safetensors file with GPT-2's attention (q, v and proj of blocks 0, 5, 11) or SmolLM2 as GGUF (gate and down
// of blocks 0, 10, 20). Blocks 2x4, 4 terms. Each search is what stands in a TOML file behind `permute =`.
#include <cmath>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "decompositions/registry.hpp"
#include "framework/base/progress.hpp"
#include "framework/config/strict_table.hpp"
#include "framework/storage/gguf.hpp"
#include "framework/storage/safetensors.hpp"

namespace {

using namespace kronlab;

using Weights = std::vector<std::pair<std::string, Tensor>>;

Weights attention_of_gpt2(const std::string& path) {
  const storage::SafetensorsFile file(path);
  Weights weights;
  for (const char* block : {"0", "5", "11"}) {
    const std::string stem = std::string("h.") + block + ".attn.";
    const Tensor fused = file.load(stem + "c_attn.weight"), output = file.load(stem + "c_proj.weight");  // [in, out]
    const Index n = output.rows();
    const auto add = [&](const char* name, ConstMatrixView<float> stored) {
      Tensor weight(DType::f32, {stored.cols, stored.rows});
      for (Index i = 0; i < stored.rows; ++i) {
        for (Index j = 0; j < stored.cols; ++j) weight.matrix<float>()(j, i) = stored(i, j);
      }
      weights.emplace_back(std::string(block) + " " + name, std::move(weight));
    };
    const auto all = fused.matrix<float>();
    add("q", all.block(0, 0, n, n)), add("v", all.block(0, 2 * n, n, n)), add("proj", output.matrix<float>());
  }
  return weights;
}

Weights mlps_of_smollm2(const std::string& path) {
  const storage::GgufFile file(path);
  Weights weights;
  for (const char* block : {"0", "10", "20"}) {
    for (const char* name : {"gate", "down"}) {
      const std::string full = std::string("blk.") + block + ".ffn_" + name + ".weight";
      Tensor weight(DType::f32, file.tensors().at(full).shape);
      file.read(full, weight.view(), [](Index i) { return i; });
      weights.emplace_back(std::string(block) + " " + name, std::move(weight));
    }
  }
  return weights;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 3) {
    std::fprintf(stderr, "bench_permutation FILE SEARCH...\n");
    return 2;
  }
  const std::string path = argv[1];
  const auto weights = path.ends_with(".gguf") ? mlps_of_smollm2(path) : attention_of_gpt2(path);
  for (int a = 2; a < argc; ++a) {
    const auto configured = decompositions::search_from(config::StrictTable(config::parse_toml(argv[a], "search")));
    std::printf("%s\n", argv[a]);
    double errors = 0, seconds = 0;
    for (const auto& [name, weight] : weights) {
      const double started = now_s();
      const auto found = configured.search->search(name, weight.view(), {2, 4, 4}, RandomStream(1), configured.budget);
      const double took = now_s() - started, error = std::sqrt(1 - found.value);
      std::printf("  %-8s error %.4f  %6.2f s  %6.1f M swaps/s  %5.0f M swaps  %8lld accepted\n", name.c_str(), error, took,
                  static_cast<double>(found.evaluated) / took * 1e-6, static_cast<double>(found.evaluated) * 1e-6,
                  static_cast<long long>(found.accepted));
      std::fflush(stdout);
      errors += error, seconds += took;
    }
    const auto n = static_cast<double>(weights.size());
    std::printf("  mean     error %.4f  %6.2f s\n", errors / n, seconds / n);
  }
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
