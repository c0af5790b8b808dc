// The inputs that a fuzzer found or that once crashed, and a short run of mutations that is the same every time.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "framework/base/hash.hpp"
#include "framework/base/progress.hpp"
#include "framework/base/random.hpp"
#include "tests/fuzz/config_front.hpp"
#include "tests/support/message_of.hpp"

using namespace kronlab;

namespace {

std::vector<std::string> corpus() {
  const std::filesystem::path folder = std::filesystem::path(std::getenv("KRONLAB_SOURCE_DIR")) / "tests" / "fuzz" / "corpus";
  std::map<std::string, std::string> inputs;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) inputs[entry.path().filename()] = read_text_file(entry.path());
  std::vector<std::string> texts;
  for (auto& [name, text] : inputs) texts.push_back(std::move(text));
  return texts;
}

/// Lines and words of all inputs in new places, bytes changed, pieces left out or doubled.
class Mutations {
 public:
  explicit Mutations(std::vector<std::string> seeds) : seeds_(std::move(seeds)) {}

  std::string next() {
    std::string text = any_seed();
    for (std::size_t i = 0, count = 1 + below(4); i < count; ++i) mutate(text);
    return text.substr(0, 4096);
  }

 private:
  std::size_t below(std::size_t bound) { return static_cast<std::size_t>(random_.uniform() * static_cast<double>(bound)); }
  const std::string& any_seed() { return seeds_[below(seeds_.size())]; }
  std::string piece() {
    const std::string& text = any_seed();
    if (text.empty()) return {};
    const std::size_t begin = below(text.size());
    return text.substr(begin, 1 + below(40));
  }

  void mutate(std::string& text) {
    static const std::vector<std::string> tokens{"\"", "'", "[", "]", "{", "}", "=", ".", ",", "\n", "#", "-1", "0", "1e999", "nan", "9223372036854775807", "-0.0",
                                                 "\"stage.0.decompose.kind\"", "[[sweep.grid]]\n", "when", "\xff", "{1..5}", "*", "true"};
    const std::size_t at = below(text.size() + 1), length = below(std::min<std::size_t>(text.size() - at, 30) + 1);
    switch (below(4)) {
      case 0:
        return void(text.replace(at, length, piece()));
      case 1:
        return void(text.insert(at, tokens[below(tokens.size())]));
      case 2:
        return void(text.erase(at, length));
      default:
        if (at < text.size()) text[at] = static_cast<char>(below(256));
    }
  }

  std::vector<std::string> seeds_;
  RandomStream random_{20261126};
};

}  // namespace

BOOST_AUTO_TEST_SUITE(config_front)

BOOST_AUTO_TEST_CASE(every_input_of_the_corpus_is_read_or_refused) {
  const auto inputs = corpus();
  BOOST_TEST(inputs.size() >= 20u);
  for (const auto& input : inputs) fuzz::check_config_front(input);
}

BOOST_AUTO_TEST_CASE(thousands_of_mutations_are_read_or_refused) {
  Mutations mutations(corpus());
  const double started_s = now_s();
  int count = 0;
  for (; count < 4000; ++count) fuzz::check_config_front(mutations.next());
  BOOST_TEST(count == 4000);
  BOOST_TEST_MESSAGE(count << " mutations in " << now_s() - started_s << " s");
}

BOOST_AUTO_TEST_SUITE_END()
