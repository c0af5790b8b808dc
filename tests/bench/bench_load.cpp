// Loading a model, dequantised to float32, against writing as much fresh memory once.
//   bench_load MODEL [ROUNDS]
// Prints medians: `load_s`, `write_s`, and `beyond_s`, the median of their differences within a round.
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "framework/base/progress.hpp"
#include "framework/model/transformer.hpp"
#include "framework/storage/model_files.hpp"

namespace {

using namespace kronlab;

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

/// Opening, reading the configuration and every weight.
double seconds_to_load(const std::string& path, Index& size_bytes) {
  const double started = now_s();
  const auto files = storage::ModelFiles::open(path);
  const auto config = model::ModelConfig::from_json(files->text("config.json").value(), path);
  const auto loaded = model::Transformer::load(config, files->tensors());
  const double seconds = now_s() - started;
  size_bytes = loaded.num_parameters() * size_of(DType::f32);
  return seconds;
}

double seconds_to_write(Index size_bytes) {
  const auto size = static_cast<std::size_t>(size_bytes);
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw StorageError("no memory");
  const double started = now_s();
  std::memset(memory, 1, size);
  const double seconds = now_s() - started;
  munmap(memory, size);
  return seconds;
}

int run(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s MODEL [ROUNDS]\n", argv[0]);
    return 2;
  }
  const int rounds = argc > 2 ? std::max(1, std::atoi(argv[2])) : 5;
  std::vector<double> loads, writes, beyond;
  Index size_bytes = 0;
  for (int round = 0; round < rounds; ++round) {
    loads.push_back(seconds_to_load(argv[1], size_bytes));
    writes.push_back(seconds_to_write(size_bytes));
    beyond.push_back(loads.back() - writes.back());
  }
  std::printf("size_mb %.0f\nload_s %.3f\nwrite_s %.3f\nbeyond_s %.3f\nfirst_beyond_s %.3f\n",
              static_cast<double>(size_bytes) / 1e6, median(loads), median(writes), median(beyond), beyond.front());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
