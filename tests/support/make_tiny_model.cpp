// make_tiny_model FOLDER [CONFIG]: a random model in FOLDER/model, of the shape of a config.json or a small LLaMA, and nonsense to
// calibrate and evaluate with in FOLDER/text.
#include <cstdio>
#include <exception>

#include "framework/base/hash.hpp"
#include "tests/support/tiny_model.hpp"

int main(int argc, char** argv) {
  using namespace kronlab;
  if (argc != 2 && argc != 3) {
    std::fprintf(stderr, "usage: %s FOLDER [CONFIG]\n", argv[0]);
    return 2;
  }
  try {
    const std::filesystem::path folder = argv[1];
    kronlab::testing::write_tiny_model(folder / "model", argc == 3 ? model::ModelConfig::from_json(read_text_file(argv[2]), argv[2]) : kronlab::testing::tiny_llama_config());
    std::filesystem::create_directories(folder / "text");
    write_file_atomically((folder / "text" / "calibration.txt").string(), kronlab::testing::nonsense(4000, 1));
    write_file_atomically((folder / "text" / "heldout.txt").string(), kronlab::testing::nonsense(4000, 2));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
