// make_tiny_model FOLDER: a random LLaMA model in FOLDER/model and nonsense to calibrate and evaluate with in
// FOLDER/text.
#include <cstdio>
#include <exception>

#include "framework/base/hash.hpp"
#include "tests/support/tiny_model.hpp"

int main(int argc, char** argv) {
  using namespace kronlab;
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
    return 2;
  }
  try {
    const std::filesystem::path folder = argv[1];
    kronlab::testing::write_tiny_model(folder / "model", kronlab::testing::tiny_llama_config());
    std::filesystem::create_directories(folder / "text");
    write_file_atomically((folder / "text" / "calibration.txt").string(), kronlab::testing::nonsense(4000, 1));
    write_file_atomically((folder / "text" / "heldout.txt").string(), kronlab::testing::nonsense(4000, 2));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
