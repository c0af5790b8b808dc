#include <sys/resource.h>

#include <boost/test/unit_test.hpp>
#include <csignal>
#include <filesystem>

#include "framework/base/hash.hpp"
#include "tests/support/message_of.hpp"
#include "tests/support/test_data.hpp"

namespace kronlab {
namespace {

// FIPS 180-4's examples.
const std::string abc_digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const std::string empty_digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const std::string million_digest = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";

std::size_t num_files(const std::filesystem::path& folder) {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator()));
}

/// While it lives, no file may grow beyond a size: writing more fails as on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit before_{};
  void (*handler_)(int);
};

BOOST_AUTO_TEST_SUITE(hash)

BOOST_AUTO_TEST_CASE(sha256_gives_the_published_digests) {
  BOOST_TEST(sha256("abc") == abc_digest);
  BOOST_TEST(sha256("") == empty_digest);
  BOOST_TEST(sha256(std::string(1000000, 'a')) == million_digest);
}

BOOST_AUTO_TEST_CASE(parts_and_files_have_the_digest_of_the_whole) {
  Sha256 hash;
  hash.update("a");
  hash.update("");
  const char rest[] = {'b', 'c'};
  hash.update(std::as_bytes(std::span(rest)));
  BOOST_TEST(hash.hex_digest() == abc_digest);
  const testing::TemporaryFolder folder;
  write_file_atomically(folder / "million", std::string(1000000, 'a'));
  BOOST_TEST(sha256_of_file(folder / "million") == million_digest);
  write_file_atomically(folder / "empty", "");
  BOOST_TEST(sha256_of_file(folder / "empty") == empty_digest);
}

BOOST_AUTO_TEST_CASE(a_written_file_is_read_back_and_replaced) {
  const testing::TemporaryFolder folder;
  const std::string zeros("a\0\n\r\xFF", 5), path = folder / "file";
  write_file_atomically(path, zeros);
  BOOST_TEST((read_text_file(path) == zeros));
  const std::string large(3000000, 'x');
  write_file_atomically(path, large);
  BOOST_TEST((read_text_file(path) == large));
  BOOST_TEST(num_files(folder.path()) == 1u);
}

BOOST_AUTO_TEST_CASE(files_that_cannot_be_read_are_errors_with_the_systems_text) {
  const testing::TemporaryFolder folder;
  for (const auto& read : {read_text_file, sha256_of_file}) {
    BOOST_CHECK_THROW(read(folder / "none"), StorageError);
    const auto message = testing::message_of([&] { read(folder / "none"); });
    BOOST_TEST(message.find((folder / "none") + "': No such file") != std::string::npos, message);
    BOOST_CHECK_THROW(read(folder.path().string()), StorageError);
  }
}

BOOST_AUTO_TEST_CASE(a_failed_write_leaves_what_was_there_and_nothing_else) {
  const testing::TemporaryFolder folder;
  BOOST_CHECK_THROW(write_file_atomically(folder / "none/file", "new"), StorageError);
  write_file_atomically(folder / "full", "old");
  {
    const FileSizeLimit limit(1000);
    BOOST_CHECK_THROW(write_file_atomically(folder / "full", std::string(2000, 'x')), StorageError);
  }
  BOOST_TEST(read_text_file(folder / "full") == "old");
  // a name that is a folder: everything is written, the rename fails
  const std::string target = folder / "target";
  std::filesystem::create_directory(target);
  write_file_atomically(target + "/old", "old");
  BOOST_CHECK_THROW(write_file_atomically(target, "new"), StorageError);
  BOOST_TEST(read_text_file(target + "/old") == "old");
  BOOST_TEST(num_files(folder.path()) == 2u);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace kronlab
