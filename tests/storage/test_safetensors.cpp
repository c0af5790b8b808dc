#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <vector>

#include "framework/storage/safetensors.hpp"
#include "tests/storage/bytes.hpp"
#include "tests/storage/safetensors_bytes.hpp"
#include "tests/support/test_data.hpp"

using namespace kronlab;
using namespace kronlab::storage;
using namespace kronlab::testing;

namespace {

const float infinity = std::numeric_limits<float>::infinity();

/// Opens a file of this header and data.
SafetensorsFile opened(const TemporaryFolder& folder, const std::string& header, const std::string& data = {}) {
  write_bytes(folder / "x.safetensors", safetensors_bytes(header, data));
  return SafetensorsFile(folder / "x.safetensors");
}

bool is_refused(const std::string& header, const std::string& data, std::string_view words) {
  const TemporaryFolder folder;
  return throws_with<DataError>([&] { opened(folder, header, data); }, words);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(safetensors)

BOOST_AUTO_TEST_CASE(reads_every_stored_type_into_every_target) {
  const TemporaryFolder folder;
  const std::vector<float> numbers = {0.0f, 1.5f, -2.25f, 1024.0f, -0.09375f, 448.0f};  // exact in all types
  const std::map<std::string, std::function<std::string(float)>> types = {
      {"F64", [](float x) { return bytes_of(static_cast<double>(x)); }},
      {"F32", [](float x) { return bytes_of(x); }},
      {"F16", [](float x) { return bytes_of(float16(x).bits); }},
      {"BF16", [](float x) { return bytes_of(bfloat16(x).bits); }}};
  for (const auto& [type, encode] : types) {
    std::string data;
    for (const float number : numbers) data += encode(number);
    const auto file =
        opened(folder,
               fmt::format(R"({{"w":{{"dtype":"{}","shape":[2,3],"data_offsets":[0,{}]}}}})", type, data.size()), data);
    BOOST_TEST(file.info("w").stored_type == type);
    BOOST_TEST(file.info("w").stored_bytes == static_cast<Index>(data.size()));
    for (const DType target : {DType::f32, DType::f64, DType::f16, DType::bf16}) {
      const auto loaded = to_matrix<double>(file.load("w", target).view());
      for (Index i = 0; i < 6; ++i)
        BOOST_TEST(loaded.data()[i] == static_cast<double>(numbers[static_cast<std::size_t>(i)]));
    }
  }
}

BOOST_AUTO_TEST_CASE(doubles_keep_their_digits) {
  const TemporaryFolder folder;
  const double third = 1.0 / 3.0;
  const auto file = opened(folder, R"({"w":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}})", bytes_of(third));
  BOOST_TEST(file.load("w", DType::f64).values<double>()[0] == third);
  BOOST_TEST(file.load("w").values<float>()[0] == static_cast<float>(third));
}

BOOST_AUTO_TEST_CASE(writes_what_it_reads) {
  const TemporaryFolder folder;
  const std::string path = folder / "x.safetensors";
  Tensor a(DType::f32, {2, 3}), b(DType::bf16, {4}), empty(DType::f32, {0, 3});
  for (std::size_t i = 0; i < 6; ++i) a.values<float>()[i] = static_cast<float>(i) / 3.0f;
  for (std::size_t i = 0; i < 4; ++i) b.values<bfloat16>()[i] = bfloat16(static_cast<float>(i));
  const std::vector<NamedTensor> tensors = {{"z", a.shape(), std::as_const(a).view()},
                                            {"a", b.shape(), std::as_const(b).view()},
                                            {"empty", empty.shape(), std::as_const(empty).view()}};
  write_safetensors(path, tensors, {{"note", "größe"}});
  const SafetensorsFile file(path);
  BOOST_REQUIRE(file.tensors().size() == 3u);
  BOOST_TEST(file.tensors()[0].name == "a");
  BOOST_TEST(file.tensors()[2].name == "z");
  BOOST_TEST(file.metadata().at("note") == "größe");
  BOOST_TEST((file.info("z").shape == std::vector<Index>{2, 3}));
  const Tensor z = file.load("z");
  for (std::size_t i = 0; i < 6; ++i) BOOST_TEST(z.values<float>()[i] == a.values<float>()[i]);
  BOOST_TEST(file.load("a").values<float>()[3] == 3.0f);
  BOOST_TEST(file.load("empty").is_empty());
  const std::vector<NamedTensor> wrong = {{"z", {3, 3}, std::as_const(a).view()}};
  BOOST_CHECK_THROW(write_safetensors(path, wrong), ContractError);
  BOOST_TEST(throws_with<StorageError>([&] { write_safetensors(folder / "none/x.safetensors", tensors); }, "none/x"));
}

BOOST_AUTO_TEST_CASE(reads_integers) {
  const TemporaryFolder folder;
  const auto file = opened(
      folder,
      R"({"a":{"dtype":"I32","shape":[2],"data_offsets":[0,8]},)"
      R"("b":{"dtype":"I64","shape":[1],"data_offsets":[8,16]},)"
      R"("c":{"dtype":"F32","shape":[1],"data_offsets":[16,20]}})",
      bytes_of<std::int32_t>(-7) + bytes_of<std::int32_t>(9) + bytes_of<std::int64_t>(-1LL << 40) + bytes_of(1.0f));
  BOOST_TEST((file.read_integers("a") == std::vector<Index>{-7, 9}));
  BOOST_TEST((file.read_integers("b") == std::vector<Index>{-1LL << 40}));
  BOOST_TEST(throws_with<DataError>([&] { file.read_integers("c"); }, "expected I32 or I64"));
  BOOST_TEST(throws_with<DataError>([&] { file.load("a"); }, "holds I32"));
}

BOOST_AUTO_TEST_CASE(refuses_every_truncation) {
  const TemporaryFolder folder;
  const std::string path = folder / "x.safetensors";
  const std::string whole =
      safetensors_bytes(R"({"w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}})", std::string(16, '\0'));
  for (std::size_t length = 0; length < whole.size(); ++length) {
    write_bytes(path, std::string_view(whole).substr(0, length));
    BOOST_CHECK_THROW(SafetensorsFile{path}, DataError);
  }
  write_bytes(path, whole);
  BOOST_TEST(SafetensorsFile(path).has("w"));
  BOOST_CHECK_THROW(SafetensorsFile{folder / "none"}, StorageError);
  BOOST_TEST(throws_with<DataError>([&] { SafetensorsFile{folder.path()}; }, "no regular file"));
}

BOOST_AUTO_TEST_CASE(refuses_a_header_longer_than_the_file) {
  const TemporaryFolder folder;
  for (const std::uint64_t size : {std::uint64_t{3}, std::uint64_t{1} << 40, ~std::uint64_t{0}, ~std::uint64_t{7}}) {
    write_bytes(folder / "x", bytes_of(size) + "{}");
    BOOST_TEST(throws_with<DataError>([&] { SafetensorsFile{folder / "x"}; }, "header says"));
  }
}

BOOST_AUTO_TEST_CASE(refuses_headers_that_are_no_directory_of_tensors) {
  for (const char* header :
       {"", "[]", "{", "nonsense", "{\"a\":1}", "{\"a\":{}}",
        "{\"a\":{\"dtype\":1,\"shape\":[],\"data_offsets\":[0,0]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,0]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,\"4\"]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", "{\"__metadata__\":3}"}) {
    BOOST_TEST(is_refused(header, "12345678", "x.safetensors"), header);
  }
  BOOST_TEST(is_refused(std::string(100'000, '['), "", "not JSON"));
}

BOOST_AUTO_TEST_CASE(refuses_wrong_offsets_types_and_sizes) {
  const auto entry = [](const std::string& name, const std::string& dtype, const std::string& shape,
                        const std::string& offsets) {
    return fmt::format(R"("{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{}]}})", name, dtype, shape, offsets);
  };
  const std::string data(16, '\0');
  const auto one = [&](const std::string& text) { return "{" + text + "}"; };
  BOOST_TEST(is_refused(one(entry("a", "F32", "2", "12,20")), data, "outside the 16 bytes"));
  BOOST_TEST(is_refused(one(entry("a", "F32", "2", "8,0")), data, "outside"));
  BOOST_TEST(is_refused(one(entry("a", "F32", "2", "18446744073709551608,18446744073709551615")), data, "outside"));
  BOOST_TEST(is_refused(one(entry("a", "F32", "3", "0,16")), data, "16 bytes of data, but dtype and shape need 12"));
  BOOST_TEST(is_refused(one(entry("a", "F16", "4", "0,16")), data, "need 8"));
  BOOST_TEST(is_refused(one(entry("a", "F8_E4M3", "16", "0,16")), data, "unknown dtype 'F8_E4M3'"));
  BOOST_TEST(
      is_refused(one(entry("a", "F32", "2", "0,8") + "," + entry("b", "F32", "2", "4,12")), data, "overlap at byte 4"));
  BOOST_TEST(is_refused(one(entry("a", "F32", "4294967296,4294967296", "0,16")), data, "overflows"));
  BOOST_TEST(is_refused(one(entry("a", "F32", "4611686018427387905", "0,16")), data, "overflows"));
  BOOST_TEST(is_refused(one(entry("a", "F32", "18446744073709551616", "0,16")), data, "extent"));
  BOOST_TEST(is_refused(one(entry("a", "F32", "2", "0,8") + "," + entry("a", "F32", "2", "8,16")), data,
                        "'a' is there twice"));
}

BOOST_AUTO_TEST_CASE(refuses_values_that_are_not_finite_and_says_where) {
  const TemporaryFolder folder;
  const auto load = [&](const std::string& type, const std::string& data, DType target) {
    const auto header =
        fmt::format(R"({{"w":{{"dtype":"{}","shape":[2,1],"data_offsets":[0,{}]}}}})", type, data.size());
    return opened(folder, header, data).load("w", target);
  };
  for (const float bad : {infinity, -infinity, std::nanf("")}) {
    for (const DType target : {DType::f32, DType::f64, DType::bf16}) {
      BOOST_TEST(throws_with<DataError>([&] { load("F32", bytes_of(1.0f) + bytes_of(bad), target); },
                                        "'w' has a value in row 1"));
      BOOST_CHECK_THROW(load("F64", bytes_of(1.0) + bytes_of(static_cast<double>(bad)), target), DataError);
      BOOST_CHECK_THROW(load("F16", bytes_of(float16(1.0f).bits) + bytes_of(float16(bad).bits), target), DataError);
      BOOST_CHECK_THROW(load("BF16", bytes_of(bfloat16(1.0f).bits) + bytes_of(bfloat16(bad).bits), target), DataError);
    }
  }
  // Finite in the file, infinite in memory.
  BOOST_CHECK_THROW(load("F64", bytes_of(1.0) + bytes_of(1e300), DType::f32), DataError);
  BOOST_CHECK_THROW(load("F32", bytes_of(1.0f) + bytes_of(1e6f), DType::f16), DataError);
  BOOST_CHECK_THROW(load("F32", bytes_of(1.0f) + bytes_of(std::numeric_limits<float>::max()), DType::bf16), DataError);
  BOOST_CHECK_NO_THROW(load("F64", bytes_of(1.0) + bytes_of(1e300), DType::f64));
  BOOST_CHECK_NO_THROW(load("F32", bytes_of(1.0f) + bytes_of(std::numeric_limits<float>::max()), DType::f32));
  BOOST_CHECK_NO_THROW(load("F32", bytes_of(1.0f) + bytes_of(65504.0f), DType::f16));
}

BOOST_AUTO_TEST_CASE(refuses_unknown_names_and_other_shapes) {
  const TemporaryFolder folder;
  const auto file =
      opened(folder, R"({"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}})", std::string(24, '\0'));
  BOOST_TEST(throws_with<DataError>([&] { file.load("v"); }, "no tensor 'v'"));
  Tensor turned(DType::f32, {3, 2}), small(DType::f32, {2, 2});
  BOOST_TEST(throws_with<DataError>([&] { file.read("w", turned.view()); }, "is 2 x 3 in the file, 3 x 2"));
  BOOST_TEST(throws_with<DataError>([&] { file.read("w", small.view()); }, "2 x 2"));
  Tensor integers(DType::i32, {2, 3});
  BOOST_CHECK_THROW(file.read("w", integers.view()), ContractError);
}

BOOST_AUTO_TEST_SUITE_END()
