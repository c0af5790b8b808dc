#include <mpi.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <functional>
#include <numeric>

#include "experiments/pipeline/token_cache.hpp"
#include "framework/base/hash.hpp"
#include "tests/support/message_of.hpp"
#include "tests/support/small_file_system.hpp"
#include "tests/support/tiny_model.hpp"

using namespace kronlab;
using namespace kronlab::experiments;
using kronlab::testing::message_of;

namespace fs = std::filesystem;

namespace {

struct Fixture {
  comm::Communicator world{MPI_COMM_WORLD};
  kronlab::testing::TemporaryFolder own;
  fs::path folder = world.broadcast(own.path().string());
  std::string store = (folder / "store").string(), text_path = (folder / "text.txt").string();
  std::string text = kronlab::testing::nonsense(3000);
  ModelAccess model = [this] {
    on_root([&] { kronlab::testing::write_tiny_model(folder / "model", kronlab::testing::tiny_llama_config()); });
    return ModelAccess((folder / "model").string());
  }();

  Fixture() { write_text(text); }
  ~Fixture() { world.barrier(); }

  /// Runs an action on the root when no rank reads files any more and none reads them again before it ends.
  template <class Action>
  void on_root(Action action) {
    world.barrier();
    if (world.is_root()) action();
    world.barrier();
  }
  void write_text(const std::string& content) {
    on_root([&] { write_file_atomically(text_path, content); });
  }
  model::TokenStream tokens() { return tokens(model); }
  model::TokenStream tokens(const ModelAccess& access) { return tokens(access, store); }
  model::TokenStream tokens(const ModelAccess& access, const std::string& where) {
    auto stream = cached_tokens(world, where, access, "novel", text_path, sha256_of_file(text_path));
    world.barrier();
    return stream;
  }
  std::vector<fs::path> cached_files(const std::string& where) {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(fs::path(where) / "cache" / "tokens"))
      files.push_back(entry.path());
    std::ranges::sort(files);
    world.barrier();
    return files;
  }
  fs::path the_file() {
    const auto files = cached_files(store);
    BOOST_REQUIRE(files.size() == 1u);
    return files.front();
  }
};

std::vector<model::TokenId> ids_of(const model::TokenStream& stream) {
  std::vector<model::TokenId> ids(static_cast<std::size_t>(stream.num_tokens()));
  stream.window(0, ids);
  return ids;
}

/// Changes when the file is written again.
auto state_of(const fs::path& file) { return fs::last_write_time(file); }

void overwrite(const fs::path& file, std::streamoff at, const std::string& bytes) {
  std::fstream stream(file, std::ios::binary | std::ios::in | std::ios::out);
  stream.seekp(at).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(token_cache, Fixture)

BOOST_AUTO_TEST_CASE(every_rank_gets_the_ids_of_the_text) {
  const auto stream = tokens();
  BOOST_TEST((ids_of(stream) == model.tokenizer()->encode(text)));
  BOOST_TEST(stream.name() == "novel");
  BOOST_TEST(fs::file_size(the_file()) == 152u + 2u * static_cast<std::uintmax_t>(stream.num_tokens()));
  const auto sum = [](const std::vector<model::TokenId>& ids) {
    return std::accumulate(ids.begin(), ids.end(), Index{0});
  };
  BOOST_TEST(world.sum(sum(ids_of(stream))) == world.size() * sum(ids_of(stream)));
}

BOOST_AUTO_TEST_CASE(a_text_longer_than_a_piece_has_the_ids_of_the_whole) {
  text = kronlab::testing::nonsense(600'000);
  write_text(text);
  BOOST_TEST(text.size() > std::size_t{2} << 20);
  BOOST_TEST((ids_of(tokens()) == model.tokenizer()->encode(text)));
}

BOOST_AUTO_TEST_CASE(the_second_use_does_not_tokenise_again) {
  const auto first = ids_of(tokens());
  const auto written = state_of(the_file());
  BOOST_TEST((ids_of(tokens()) == first));
  BOOST_TEST((state_of(the_file()) == written));
  // nor would it for other weights beside the same tokenizer
  on_root([&] { kronlab::testing::write_tiny_model(folder / "other", kronlab::testing::tiny_gpt2_config(), 7); });
  BOOST_TEST((ids_of(tokens(ModelAccess((folder / "other").string()))) == first));
  BOOST_TEST((state_of(the_file()) == written));
}

BOOST_AUTO_TEST_CASE(another_text_or_tokenizer_has_a_file_of_its_own) {
  tokens();
  write_text(text + "more");
  tokens();
  BOOST_TEST(cached_files(store).size() == 2u);
  on_root([&] { write_file_atomically((folder / "model" / "tokenizer_config.json").string(), "{}"); });
  tokens();
  BOOST_TEST(cached_files(store).size() == 3u);
}

BOOST_AUTO_TEST_CASE(a_damaged_truncated_or_foreign_file_is_made_again) {
  const auto good = ids_of(tokens());
  const fs::path file = the_file();
  const std::string bytes = read_text_file(file);
  const auto check_made_again = [&](const char* what, const std::function<void()>& damage) {
    on_root(damage);
    BOOST_TEST((ids_of(tokens()) == good), what);
    BOOST_TEST((read_text_file(file) == bytes), what);
  };
  check_made_again("an id", [&] { overwrite(file, 152 + 1000, "\x01"); });
  check_made_again("the magic", [&] { overwrite(file, 0, "x"); });
  check_made_again("the version", [&] { overwrite(file, 8, "\x02"); });
  check_made_again("the width", [&] { overwrite(file, 12, "\x03"); });
  check_made_again("the count", [&] { overwrite(file, 16, "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"); });
  check_made_again("the key", [&] { overwrite(file, 24, "x"); });
  check_made_again("the checksum", [&] { overwrite(file, 88, "x"); });
  check_made_again("truncated", [&] { fs::resize_file(file, bytes.size() - 2); });
  check_made_again("half an id", [&] { fs::resize_file(file, bytes.size() - 1); });
  check_made_again("half a header", [&] { fs::resize_file(file, 20); });
  check_made_again("empty", [&] { fs::resize_file(file, 0); });
  check_made_again("longer", [&] { fs::resize_file(file, bytes.size() + 2); });
  write_text(text + "more");
  tokens();
  const auto files = cached_files(store);
  const fs::path other = files[0] == file ? files[1] : files[0];
  write_text(text);
  check_made_again("another text's", [&] { fs::copy_file(other, file, fs::copy_options::overwrite_existing); });
}

BOOST_AUTO_TEST_CASE(a_text_that_is_not_the_hashed_one_is_refused) {
  BOOST_CHECK_THROW(cached_tokens(world, store, model, "novel", text_path, sha256("else")), CollectiveError);
}

BOOST_AUTO_TEST_CASE(a_text_shorter_than_a_window_says_what_it_has) {
  write_text("tare");
  BOOST_TEST(message_of([&] { tokens().num_windows(64); }) ==
             "text 'novel' has 1 tokens, expected at least one window of 64");
}

BOOST_AUTO_TEST_CASE(texts_that_cannot_be_are_errors_on_all_ranks_that_name_them) {
  const auto message = [&](const std::string& content) {
    write_text(content);
    return message_of([&] { tokens(); });
  };
  BOOST_TEST(message("").find("text.txt' is empty") != std::string::npos);
  BOOST_TEST(message("ta\xFFre").find("text.txt': not valid UTF-8 at byte 2 (0xFF)") != std::string::npos);
  BOOST_TEST(cached_files(store).empty());
}

BOOST_AUTO_TEST_CASE(an_id_outside_the_models_vocabulary_is_an_error) {
  auto config = kronlab::testing::tiny_llama_config();
  config.vocab_size = 200;  // the tokenizer still has 260
  on_root([&] { write_file_atomically((folder / "model" / "config.json").string(), config.to_json()); });
  const std::string message = message_of([&] { tokens(ModelAccess((folder / "model").string())); });
  BOOST_TEST(message.find("but the vocabulary has 200 ids") != std::string::npos, message);
}

BOOST_AUTO_TEST_CASE(a_full_disk_is_an_error_and_leaves_nothing) {
  if (world.size() > 1) return;  // a file system of one process
  write_text(kronlab::testing::nonsense(60'000));
  const kronlab::testing::SmallFileSystem disk(256);
  if (!disk.is_mounted()) {
    BOOST_TEST_MESSAGE("not run: no file system can be mounted here");
    return;
  }
  try {
    tokens(model, disk.path().string());
    BOOST_ERROR("nothing was thrown");
  } catch (const CollectiveError& error) {
    BOOST_TEST((error.cause() == CollectiveError::Cause::environment));
    BOOST_TEST(std::string(error.what()).find("No space left") != std::string::npos, error.what());
  }
  BOOST_TEST(cached_files(disk.path().string()).empty());
}

BOOST_AUTO_TEST_CASE(a_store_below_a_file_is_an_error) {
  const std::string message = message_of([&] { tokens(model, text_path); });
  BOOST_TEST(message.find("text.txt/cache/tokens") != std::string::npos, message);
}

BOOST_AUTO_TEST_SUITE_END()
