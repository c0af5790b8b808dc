// Arrays that ranks write into one file together.
#include <boost/test/unit_test.hpp>
#include <filesystem>

#include "framework/base/hash.hpp"
#include "framework/storage/shared_arrays.hpp"
#include "tests/support/small_file_system.hpp"

using namespace kronlab;
using namespace kronlab::storage;
using kronlab::testing::SmallFileSystem;
using kronlab::testing::TemporaryFolder;

namespace {

/// A folder of root's that all ranks see.
struct SharedFolder {
  comm::Communicator world{MPI_COMM_WORLD};
  TemporaryFolder own_folder;
  std::string path = world.broadcast(own_folder.path().string());
  ~SharedFolder() { world.barrier(); }
};

OwnedArray doubles(const std::string& name, std::vector<double> values) {
  return {name, {static_cast<Index>(values.size())}, std::move(values), {{"unit", "1"}, {"of", name}}};
}

/// Seven arrays of growing length, dealt to ranks with `shift`.
std::vector<OwnedArray> dealt(const comm::Communicator& world, int shift) {
  std::vector<OwnedArray> own;
  for (int i = 0; i < 7; ++i) {
    if ((i + shift) % world.size() != world.rank()) continue;
    std::vector<double> values;
    std::vector<Index> integers;
    for (int k = 0; k < 100 * i; ++k) values.push_back(i + 1.0 / (k + 1)), integers.push_back(Index{1} << (k % 62));
    own.push_back(doubles(fmt::format("layers/{}/spectrum", i), std::move(values)));
    own.push_back({fmt::format("layers/{}/rows", i), {i, 100}, std::move(integers), {}});
  }
  return own;
}

bool says(const std::function<void()>& work, const std::string& part) {
  try {
    work();
  } catch (const CollectiveError& error) {
    if (std::string(error.what()).find(part) != std::string::npos) return true;
    BOOST_TEST_MESSAGE(error.what());
  }
  return false;
}

std::size_t num_files(const std::string& folder) {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(shared_arrays)

BOOST_FIXTURE_TEST_CASE(every_rank_writes_its_own_and_any_program_reads_all, SharedFolder) {
  write_shared_arrays(world, path + "/a.h5", dealt(world, 0));
  const ArrayReader reader(path + "/a.h5");
  BOOST_TEST(reader.names().size() == 14u);
  for (int i = 0; i < 7; ++i) {
    const auto name = fmt::format("layers/{}/spectrum", i);
    const auto values = reader.read_f64(name);
    BOOST_TEST_REQUIRE(values.size() == static_cast<std::size_t>(100 * i));
    for (int k = 0; k < 100 * i; ++k) BOOST_TEST(values[static_cast<std::size_t>(k)] == i + 1.0 / (k + 1));
    BOOST_TEST(reader.attributes(name).at("of") == name);
    const auto rows = fmt::format("layers/{}/rows", i);
    BOOST_TEST((reader.shape(rows) == std::vector<Index>{i, 100}));
    BOOST_TEST(reader.is_integer(rows));
    if (i > 0) BOOST_TEST(reader.read_i64(rows)[61] == Index{1} << 61);
  }
  world.barrier();
  if (world.is_root()) BOOST_TEST(num_files(path) == 1u);
}

BOOST_FIXTURE_TEST_CASE(the_file_is_the_same_whoever_has_what, SharedFolder) {
  write_shared_arrays(world, path + "/a.h5", dealt(world, 0));
  write_shared_arrays(world, path + "/b.h5", dealt(world, 1));
  if (world.is_root()) BOOST_TEST(read_text_file(path + "/a.h5") == read_text_file(path + "/b.h5"));
}

BOOST_FIXTURE_TEST_CASE(a_rank_may_have_nothing_and_so_may_all, SharedFolder) {
  std::vector<OwnedArray> own;
  if (world.rank() == world.size() - 1) own.push_back(doubles("only", {2.5}));
  write_shared_arrays(world, path + "/a.h5", own);
  BOOST_TEST(ArrayReader(path + "/a.h5").read_f64("only").at(0) == 2.5);
  write_shared_arrays(world, path + "/none.h5", {});
  BOOST_TEST(ArrayReader(path + "/none.h5").names().empty());
}

BOOST_FIXTURE_TEST_CASE(what_cannot_be_written_is_told_on_all_ranks_and_leaves_what_was_there, SharedFolder) {
  const std::vector<OwnedArray> good = {doubles(fmt::format("of rank {}", world.rank()), {1.0})};
  write_shared_arrays(world, path + "/a.h5", good);
  const std::string before = read_text_file(path + "/a.h5");
  const auto write = [&](const OwnedArray& array, const std::string& file) {
    return [&world = world, file, array] { write_shared_arrays(world, file, std::span(&array, 1)); };
  };
  if (world.size() > 1) BOOST_TEST(says(write(doubles("same", {1.0}), path + "/a.h5"), "array 'same' is there twice"));
  BOOST_TEST(says(write(doubles("/a", {1.0}), path + "/a.h5"), "array name '/a'"));
  BOOST_TEST(says(write({"a", {3}, std::vector<double>{1.0}, {}}, path + "/a.h5"), "1 values for a shape of 3"));
  // One rank's fault is everybody's.
  const bool is_last = world.rank() == world.size() - 1;
  BOOST_TEST(says(write(doubles(is_last ? "a//b" : fmt::format("{}", world.rank()), {1.0}), path + "/a.h5"), "array name 'a//b'"));
  // A name within another array's: only HDF5 knows.
  const auto nested = [&] {
    const std::vector<OwnedArray> own = {doubles(fmt::format("{}", world.rank()), {1.0}), doubles(fmt::format("{}/b", world.rank()), {1.0})};
    write_shared_arrays(world, path + "/a.h5", own);
  };
  BOOST_TEST(says(nested, "array '0/b'"));
  BOOST_TEST(says(write(good.front(), path + "/none/a.h5"), "No such file or directory"));
  BOOST_TEST(read_text_file(path + "/a.h5") == before);
  world.barrier();
  if (world.is_root()) BOOST_TEST(num_files(path) == 1u);
}

BOOST_FIXTURE_TEST_CASE(a_full_disk_is_an_error_of_all_and_leaves_no_file, SharedFolder) {
  const std::optional<SmallFileSystem> disk = world.is_root() ? std::make_optional<SmallFileSystem>(1024) : std::nullopt;
  const auto folder = world.broadcast(disk && disk->is_mounted() ? disk->path().string() : std::string());
  if (folder.empty()) {
    BOOST_TEST_MESSAGE("not run: no file system can be mounted here");
    return;
  }
  const std::vector<OwnedArray> large = {doubles(fmt::format("{}", world.rank()), std::vector<double>(256 * 1024))};
  BOOST_TEST(says([&] { write_shared_arrays(world, folder + "/a.h5", large); }, "No space left"));
  if (world.is_root()) BOOST_TEST(num_files(folder) == 0u);
  const std::vector<OwnedArray> small = {doubles(fmt::format("{}", world.rank()), {1.0})};
  write_shared_arrays(world, folder + "/a.h5", small);  // with the space that there is
  BOOST_TEST(ArrayReader(folder + "/a.h5").names().size() == static_cast<std::size_t>(world.size()));
  world.barrier();
}

BOOST_AUTO_TEST_SUITE_END()
