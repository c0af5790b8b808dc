// A second process for the tests of RunStore: run_store_writer STORE RUN_ID FIRST
// Goes on with the run, records metrics FIRST, FIRST + 1, ... and says the last one that a flush has returned from,
// until it is killed.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "framework/storage/run_store.hpp"

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  try {
    auto run = kronlab::storage::RunStore::open(argv[1], argv[2]);
    for (long i = std::atol(argv[3]);; ++i) {
      kronlab::Metric metric;
      metric.name = "test/counter";
      metric.value = static_cast<double>(i);
      metric.stage = 0;
      metric.step = i;
      run.record(metric);
      if (i % 7 != 0) continue;
      run.flush();
      std::printf("%ld\n", i);
      std::fflush(stdout);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "run_store_writer: %s\n", error.what());
    return 1;
  }
}
