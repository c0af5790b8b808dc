#include <array>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdio>
#include <limits>
#include <numeric>

#include "framework/storage/array_file.hpp"
#include "tests/storage/bytes.hpp"
#include "tests/support/small_file_system.hpp"

using namespace kronlab;
using namespace kronlab::storage;
using namespace kronlab::testing;

namespace {

std::string output_of(const std::string& command) {
  std::string output;
  FILE* pipe = ::popen(command.c_str(), "r");
  BOOST_REQUIRE(pipe != nullptr);
  std::array<char, 4096> chunk;
  while (const std::size_t n = std::fread(chunk.data(), 1, chunk.size(), pipe)) output.append(chunk.data(), n);
  BOOST_TEST(::pclose(pipe) == 0);
  return output;
}

std::size_t num_files(const std::filesystem::path& folder) {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
}

/// A file with one array of each kind.
void write_sample(const std::string& path) {
  ArrayFile file(path);
  file.write_vector("layers/h.0.mlp.c_fc/spectrum", std::vector<double>{3.5, 2.25, -0.0}, {{"unit", "1"}});
  file.write_vector("layers/h.0.mlp.c_fc/permutation/rows", std::vector<Index>{2, 0, 1});
  file.write_text("config.toml", "[experiment]\nname = \"größe\"\n");
  file.close();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(array_file)

BOOST_AUTO_TEST_CASE(reads_back_every_type_shape_and_attribute) {
  const TemporaryFolder folder;
  const std::string path = folder / "arrays.h5";
  const double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  {
    ArrayFile file(path);
    const std::array<Index, 2> shape{2, 3};
    file.write("a/doubles", shape, std::vector<double>{1.0 / 3, -0.0, nan, infinity, -infinity, 5e-324},
               {{"unit", "nat/token"}, {"axes", "row,column"}, {"empty", ""}});
    file.write("a/b/c/floats", shape, std::vector<float>{1, 2, 3, 4, 5, 0.1f});
    file.write("integers", shape, std::vector<Index>{0, -1, 2, std::numeric_limits<Index>::min(), 4, 1LL << 53 | 1});
    file.write("words", shape, std::vector<std::int32_t>{0, -1, 2, std::numeric_limits<std::int32_t>::min(), 4, 5});
    file.write("scalar", std::span<const Index>(), std::vector<double>{2.5});
    const std::array<Index, 3> none{2, 0, 3};
    file.write("empty", none, std::vector<float>{});
    file.write_text("text", "line\nline\n");
    file.write_text("no text", "");
    BOOST_TEST(!std::filesystem::exists(path));
    file.close();
  }
  BOOST_TEST(num_files(folder.path()) == 1u);
  const ArrayReader reader(path);
  const std::vector<std::string> names = {"a/b/c/floats", "a/doubles", "empty", "integers",
                                          "no text",      "scalar",    "text",  "words"};
  BOOST_TEST(reader.names() == names, boost::test_tools::per_element());
  const auto doubles = reader.read_f64("a/doubles");
  BOOST_TEST(doubles.at(0) == 1.0 / 3);
  BOOST_TEST(std::signbit(doubles.at(1)));
  BOOST_TEST(std::isnan(doubles.at(2)));
  BOOST_TEST(doubles.at(3) == infinity);
  BOOST_TEST(doubles.at(4) == -infinity);
  BOOST_TEST(doubles.at(5) == 5e-324);
  BOOST_TEST((reader.shape("a/doubles") == std::vector<Index>{2, 3}));
  BOOST_TEST(
      (reader.attributes("a/doubles") == Attributes{{"unit", "nat/token"}, {"axes", "row,column"}, {"empty", ""}}));
  BOOST_TEST(reader.attributes("integers").empty());
  BOOST_TEST((reader.read_f64("a/b/c/floats") == std::vector<double>{1, 2, 3, 4, 5, static_cast<double>(0.1f)}));
  BOOST_TEST((reader.read_i64("integers") ==
              std::vector<Index>{0, -1, 2, std::numeric_limits<Index>::min(), 4, 1LL << 53 | 1}));
  BOOST_TEST(
      (reader.read_i64("words") == std::vector<Index>{0, -1, 2, std::numeric_limits<std::int32_t>::min(), 4, 5}));
  BOOST_TEST((reader.read_f64("words").at(1) == -1.0));
  BOOST_TEST(reader.shape("scalar").empty());
  BOOST_TEST((reader.read_f64("scalar") == std::vector<double>{2.5}));
  BOOST_TEST((reader.shape("empty") == std::vector<Index>{2, 0, 3}));
  BOOST_TEST(reader.read_f64("empty").empty());
  BOOST_TEST(reader.read_text("text") == "line\nline\n");
  BOOST_TEST(reader.read_text("no text").empty());
  BOOST_TEST(reader.contains("a/doubles"));
  BOOST_TEST(!reader.contains("a"));
}

BOOST_AUTO_TEST_CASE(compresses_large_arrays_and_reads_them_back) {
  const TemporaryFolder folder;
  const std::string path = folder / "arrays.h5";
  std::vector<Index> ramp(300 * 1000);
  std::iota(ramp.begin(), ramp.end(), Index{0});
  const std::vector<std::vector<Index>> shapes = {{300'000}, {300, 1000}, {2, 150'000}, {1, 1, 300'000}, {300'000, 1}};
  {
    ArrayFile file(path);
    for (std::size_t i = 0; i < shapes.size(); ++i) file.write(fmt::format("ramp{}", i), shapes[i], ramp);
    file.close();
  }
  BOOST_TEST(std::filesystem::file_size(path) < ramp.size() * sizeof(Index));
  const ArrayReader reader(path);
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    BOOST_TEST(reader.shape(fmt::format("ramp{}", i)) == shapes[i]);
    BOOST_TEST((reader.read_i64(fmt::format("ramp{}", i)) == ramp));
  }
}

BOOST_AUTO_TEST_CASE(holds_all_metrics_as_columns) {
  const TemporaryFolder folder;
  const std::string path = folder / "arrays.h5", empty_path = folder / "empty.h5";
  std::vector<Metric> metrics(2);
  metrics[0] = {"eval/perplexity", 29.5, "1", -1, 0, "", "wikitext-2", "token-perplexity", 0.25};
  metrics[1] = {"distill/kl", std::numeric_limits<double>::infinity(), "nat/token", 2, 70, "h.0", "", "", {}};
  for (const auto& [name, list] : {std::pair(path, metrics), std::pair(empty_path, std::vector<Metric>())}) {
    ArrayFile file(name);
    file.write_metrics(list);
    file.close();
  }
  const ArrayReader reader(path);
  BOOST_TEST((reader.read_texts("metrics/name") == std::vector<std::string>{"eval/perplexity", "distill/kl"}));
  BOOST_TEST((reader.read_texts("metrics/unit") == std::vector<std::string>{"1", "nat/token"}));
  BOOST_TEST((reader.read_texts("metrics/layer") == std::vector<std::string>{"", "h.0"}));
  BOOST_TEST((reader.read_texts("metrics/dataset") == std::vector<std::string>{"wikitext-2", ""}));
  BOOST_TEST((reader.read_texts("metrics/protocol") == std::vector<std::string>{"token-perplexity", ""}));
  BOOST_TEST(reader.is_integer("metrics/stage"));
  BOOST_TEST(!reader.is_integer("metrics/value"));
  BOOST_TEST(!reader.is_integer("metrics/name"));
  BOOST_TEST(reader.is_text("metrics/name"));
  BOOST_TEST(!reader.is_text("metrics/stage"));
  BOOST_TEST((reader.read_i64("metrics/stage") == std::vector<Index>{-1, 2}));
  BOOST_TEST((reader.read_i64("metrics/step") == std::vector<Index>{0, 70}));
  BOOST_TEST((reader.read_f64("metrics/value") == std::vector<double>{29.5, std::numeric_limits<double>::infinity()}));
  const auto errors = reader.read_f64("metrics/standard_error");
  BOOST_TEST(errors.at(0) == 0.25);
  BOOST_TEST(std::isnan(errors.at(1)));
  BOOST_TEST(ArrayReader(empty_path).read_texts("metrics/name").empty());
}

BOOST_AUTO_TEST_CASE(other_programs_can_read_it) {
  const TemporaryFolder folder;
  write_sample(folder / "arrays.h5");
  const std::string dump = output_of("h5dump " + (folder / "arrays.h5"));
  for (const char* words : {"2.25", "GROUP \"permutation\"", "(0): 2, 0, 1", "name = \"gr", "ATTRIBUTE \"unit\""}) {
    BOOST_TEST(dump.find(words) != std::string::npos, words << " is not in\n" << dump);
  }
}

BOOST_AUTO_TEST_CASE(leaves_nothing_without_close_and_replaces_a_file_whole) {
  const TemporaryFolder folder;
  const std::string path = folder / "arrays.h5";
  write_sample(path);
  const std::string before = read_bytes(path);
  {
    ArrayFile file(path);
    file.write_vector("other", std::vector<double>{1});
  }
  BOOST_TEST(num_files(folder.path()) == 1u);
  BOOST_TEST((read_bytes(path) == before));
  ArrayFile file(path);
  file.write_vector("other", std::vector<double>{1});
  file.close();
  BOOST_TEST((ArrayReader(path).names() == std::vector<std::string>{"other"}));
  BOOST_TEST(throws_with<ContractError>([&] { file.close(); }, "closed twice"));
  BOOST_TEST(throws_with<ContractError>([&] { file.write_text("late", ""); }, "after close()"));
}

BOOST_AUTO_TEST_CASE(refuses_taken_names_and_wrong_shapes) {
  const TemporaryFolder folder;
  ArrayFile file(folder / "arrays.h5");
  file.write_vector("a/b", std::vector<double>{1});
  const std::vector<double> one{1};
  BOOST_TEST(throws_with<StorageError>([&] { file.write_vector("a/b", one); }, "array 'a/b'"));
  BOOST_TEST(throws_with<StorageError>([&] { file.write_vector("a/b/c", one); }, "array 'a/b/c'"));
  for (const char* name : {"", "/a", "a/", "a//b"}) BOOST_CHECK_THROW(file.write_vector(name, one), ContractError);
  const std::array<Index, 1> two{2}, negative{-1};
  BOOST_CHECK_THROW(file.write("c", two, std::span<const double>(one)), ContractError);
  BOOST_CHECK_THROW(file.write("c", negative, std::span<const double>(one)), ContractError);
  file.close();
  BOOST_TEST((ArrayReader(folder / "arrays.h5").names() == std::vector<std::string>{"a/b"}));
}

BOOST_AUTO_TEST_CASE(names_the_path_that_cannot_be_written) {
  const TemporaryFolder folder;
  const std::string path = folder / "no such folder/arrays.h5";
  BOOST_TEST(throws_with<StorageError>([&] { ArrayFile{path}; }, path));
}

BOOST_AUTO_TEST_CASE(refuses_missing_foreign_and_truncated_files) {
  const TemporaryFolder folder;
  const std::string path = folder / "arrays.h5", broken = folder / "broken.h5";
  BOOST_TEST(throws_with<StorageError>([&] { ArrayReader{path}; }, "No such file"));
  write_bytes(path, "this is a text, not HDF5");
  BOOST_TEST(throws_with<StorageError>([&] { ArrayReader{path}; }, "no whole HDF5 file"));
  write_sample(path);
  const std::string whole = read_bytes(path);
  const std::size_t step = std::max<std::size_t>(1, whole.size() / 300);
  for (std::size_t length = 0; length < whole.size(); length += step) {
    write_bytes(broken, std::string_view(whole).substr(0, length));
    BOOST_CHECK_THROW(ArrayReader{broken}, StorageError);
  }
}

BOOST_AUTO_TEST_CASE(refuses_unknown_names_and_wrong_types) {
  const TemporaryFolder folder;
  write_sample(folder / "arrays.h5");
  const ArrayReader reader(folder / "arrays.h5");
  const std::string spectrum = "layers/h.0.mlp.c_fc/spectrum";
  BOOST_TEST(throws_with<StorageError>([&] { reader.read_f64("layers/none"); }, "'layers/none'"));
  BOOST_TEST(throws_with<StorageError>([&] { reader.shape(""); }, "arrays.h5"));
  BOOST_TEST(throws_with<StorageError>([&] { reader.read_f64("layers"); }, "'layers'"));
  BOOST_TEST(throws_with<StorageError>([&] { reader.read_i64(spectrum); }, "holds no integers"));
  BOOST_TEST(throws_with<StorageError>([&] { reader.read_text(spectrum); }, "holds no text"));
  BOOST_TEST(throws_with<StorageError>([&] { reader.read_f64("config.toml"); }, "holds no numbers"));
}

BOOST_AUTO_TEST_CASE(a_full_disk_is_an_error_and_leaves_no_file) {
  const SmallFileSystem disk(256);
  if (!disk.is_mounted()) {
    BOOST_TEST_MESSAGE("not run: no file system can be mounted here");
    return;
  }
  std::vector<double> noise(64 * 1024);
  for (std::size_t i = 0; i < noise.size(); ++i) noise[i] = std::sin(static_cast<double>(i * i));
  const auto write_all = [&] {
    ArrayFile file(disk / "arrays.h5");
    file.write_vector("noise", noise);
    file.close();
  };
  BOOST_TEST(throws_with<StorageError>(write_all, "arrays.h5"));
  BOOST_TEST(num_files(disk.path()) == 0u);
}

BOOST_AUTO_TEST_SUITE_END()
