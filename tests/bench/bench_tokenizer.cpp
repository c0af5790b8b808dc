// Tokens per second of byte-level BPE on one file, encoded in one call by one thread.
//   bench_tokenizer TEXT VOCAB_JSON MERGES_TXT [RUNS]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "framework/base/hash.hpp"
#include "framework/base/progress.hpp"
#include "framework/model/tokenizer.hpp"

namespace {

using kronlab::model::Tokenizer;
using kronlab::model::TokenizerFiles;

double seconds_to_encode(const Tokenizer& tokenizer, const std::string& text) {
  const double started_s = kronlab::now_s();
  const auto ids = tokenizer.encode(text);
  const double seconds = kronlab::now_s() - started_s;
  if (ids.empty()) std::exit(1);
  return seconds;
}

int run(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: %s TEXT VOCAB_JSON MERGES_TXT [RUNS]\n", argv[0]);
    return 2;
  }
  const std::string text = kronlab::read_text_file(argv[1]);
  TokenizerFiles files;
  files.vocab_json = kronlab::read_text_file(argv[2]);
  files.merges_txt = kronlab::read_text_file(argv[3]);
  const int num_runs = argc > 4 ? std::max(1, std::atoi(argv[4])) : 5;

  const double started_s = kronlab::now_s();
  const auto loaded = kronlab::model::make_tokenizer(files);
  const double load_s = kronlab::now_s() - started_s;
  const auto num_tokens = static_cast<double>(loaded->encode(text).size());
  std::vector<double> cold_s;
  std::vector<double> warm_s;
  for (int i = 0; i < num_runs; ++i) {
    const auto fresh = kronlab::model::make_tokenizer(files);
    cold_s.push_back(seconds_to_encode(*fresh, text));
    warm_s.push_back(seconds_to_encode(*fresh, text));
  }
  const auto median = [](std::vector<double> values) {
    std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
    return values[values.size() / 2];
  };
  std::printf("tokens_per_second %.0f\n", num_tokens / median(cold_s));
  std::printf("tokens_per_second_again %.0f\n", num_tokens / median(warm_s));
  std::printf("tokens %.0f\nload_s %.4f\n", num_tokens, load_s);
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
