// Each block type against a slow decoder, written element by element from the public definition of the format:
// element k of a block -> where its bits are.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "framework/base/random.hpp"
#include "framework/storage/gguf_blocks.hpp"
#include "tests/storage/bytes.hpp"

using namespace kronlab;
using namespace kronlab::storage;
using namespace kronlab::testing;

namespace {

using Bytes = std::vector<std::uint8_t>;

/// IEEE half precision by its definition: sign, 5 bits of exponent, 10 of fraction.
double half(const Bytes& b, std::size_t at) {
  const unsigned bits = b[at] | b[at + 1] << 8;
  const double sign = bits >> 15 ? -1.0 : 1.0;
  const int exponent = static_cast<int>(bits >> 10 & 31);
  const double fraction = (bits & 1023) / 1024.0;
  return sign * (exponent == 0 ? std::ldexp(fraction, -14) : std::ldexp(1.0 + fraction, exponent - 15));
}

int bit(const Bytes& b, std::size_t first_byte, std::size_t index) {
  return b[first_byte + index / 8] >> index % 8 & 1;
}

/// Nibble k of 16 bytes that hold elements 0..15 in the low halves and 16..31 in the high ones.
int nibble32(const Bytes& b, std::size_t first_byte, std::size_t k) {
  return k < 16 ? b[first_byte + k] & 15 : b[first_byte + k - 16] >> 4;
}

/// The 6-bit scale and minimum of group j of eight, packed in 12 bytes: the first four of each have six bits at the
/// bottom of bytes 0-3 and 4-7; the last four have four bits in bytes 8-11 and their upper two atop bytes 0-3 and 4-7.
struct Pair {
  int scale, minimum;
};
Pair six_bits(const Bytes& b, std::size_t first_byte, std::size_t j) {
  const auto at = [&](std::size_t i) { return static_cast<int>(b[first_byte + i]); };
  if (j < 4) return {at(j) % 64, at(4 + j) % 64};
  return {at(4 + j) % 16 + 16 * (at(j - 4) / 64), at(4 + j) / 16 + 16 * (at(j) / 64)};
}

double q4_0(const Bytes& b, std::size_t k) { return half(b, 0) * (nibble32(b, 2, k) - 8); }
double q4_1(const Bytes& b, std::size_t k) { return half(b, 0) * nibble32(b, 4, k) + half(b, 2); }
double q5_0(const Bytes& b, std::size_t k) { return half(b, 0) * (nibble32(b, 6, k) + 16 * bit(b, 2, k) - 16); }
double q5_1(const Bytes& b, std::size_t k) { return half(b, 0) * (nibble32(b, 8, k) + 16 * bit(b, 4, k)) + half(b, 2); }
double q8_0(const Bytes& b, std::size_t k) { return half(b, 0) * (b[2 + k] < 128 ? b[2 + k] : b[2 + k] - 256); }

/// Elements come in runs of 64: the low nibbles of 32 bytes, then the high ones.
int nibble256(const Bytes& b, std::size_t first_byte, std::size_t k) {
  const int byte = b[first_byte + k / 64 * 32 + k % 32];
  return k % 64 < 32 ? byte % 16 : byte / 16;
}
double q4_k(const Bytes& b, std::size_t k) {
  const auto [scale, minimum] = six_bits(b, 4, k / 32);
  return half(b, 0) * scale * nibble256(b, 16, k) - half(b, 2) * minimum;
}
/// Bit g of byte i of `qh` belongs to element i of group g.
double q5_k(const Bytes& b, std::size_t k) {
  const auto [scale, minimum] = six_bits(b, 4, k / 32);
  const int fifth = b[16 + k % 32] >> k / 32 & 1;
  return half(b, 0) * scale * (nibble256(b, 48, k) + 16 * fifth) - half(b, 2) * minimum;
}
/// 128 elements at a time: 64 bytes of low nibbles (0-31 and 32-63 low, then 64-95 and 96-127 high), 32 bytes of upper
/// pairs of bits (element 32 q + i in bits 2q, 2q+1 of byte i); a signed scale for each 16 elements.
double q6_k(const Bytes& b, std::size_t k) {
  const std::size_t half_index = k / 128, within = k % 128, quarter = within / 32, i = within % 32;
  const int low_byte = b[64 * half_index + within % 64];
  const int low = within < 64 ? low_byte % 16 : low_byte / 16;
  const int upper = b[128 + 32 * half_index + i] >> 2 * quarter & 3;
  const int scale_byte = b[192 + k / 16];
  return half(b, 208) * (scale_byte < 128 ? scale_byte : scale_byte - 256) * (low + 16 * upper - 32);
}

struct Definition {
  std::uint32_t number;
  std::string name;
  std::size_t elements, bytes;
  std::vector<std::size_t> halves;  ///< where half-precision numbers lie, which must be finite
  double (*element)(const Bytes&, std::size_t);
};
const std::vector<Definition> definitions = {{2, "Q4_0", 32, 18, {0}, q4_0},       {3, "Q4_1", 32, 20, {0, 2}, q4_1},
                                             {6, "Q5_0", 32, 22, {0}, q5_0},       {7, "Q5_1", 32, 24, {0, 2}, q5_1},
                                             {8, "Q8_0", 32, 34, {0}, q8_0},       {12, "Q4_K", 256, 144, {0, 2}, q4_k},
                                             {13, "Q5_K", 256, 176, {0, 2}, q5_k}, {14, "Q6_K", 256, 210, {208}, q6_k}};

Bytes random_block(const Definition& definition, RandomStream& random) {
  Bytes block(definition.bytes);
  for (auto& byte : block) byte = static_cast<std::uint8_t>(random.below(256));
  for (const std::size_t at : definition.halves) {
    if ((block[at + 1] >> 2 & 31) == 31) block[at + 1] ^= 0x40;  // no infinity, no NaN
  }
  return block;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(gguf_blocks)

BOOST_AUTO_TEST_CASE(every_block_type_decodes_as_defined) {
  RandomStream random(7);
  for (const auto& definition : definitions) {
    const BlockType* type = block_type(definition.number);
    BOOST_REQUIRE(type != nullptr);
    BOOST_TEST(type->name == definition.name);
    BOOST_REQUIRE(type->elements == static_cast<Index>(definition.elements));
    BOOST_REQUIRE(type->bytes == static_cast<Index>(definition.bytes));
    constexpr std::size_t num_blocks = 50;
    Bytes row;
    std::vector<double> expected;
    for (std::size_t block = 0; block < num_blocks; ++block) {
      const Bytes bytes = random_block(definition, random);
      row.insert(row.end(), bytes.begin(), bytes.end());
      for (std::size_t k = 0; k < definition.elements; ++k) expected.push_back(definition.element(bytes, k));
    }
    std::vector<float> found(expected.size());
    dequantise(*type, reinterpret_cast<const std::byte*>(row.data()), static_cast<Index>(found.size()), found.data());
    for (std::size_t i = 0; i < found.size(); ++i) {
      // Two products and a sum in float, of numbers below 65504 * 63 * 31: each step rounds by half an ulp.
      const std::size_t block = i / definition.elements;
      const Bytes bytes(row.begin() + static_cast<std::ptrdiff_t>(block * definition.bytes),
                        row.begin() + static_cast<std::ptrdiff_t>((block + 1) * definition.bytes));
      double largest = std::abs(expected[i]);
      for (const std::size_t at : definition.halves) largest = std::max(largest, std::abs(half(bytes, at)) * 63 * 31);
      const double tolerance = 3.0 * largest * 0x1p-24;
      if (std::abs(found[i] - expected[i]) > tolerance) {
        BOOST_FAIL(definition.name << " element " << i << ": " << found[i] << ", expected " << expected[i]);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(unquantised_types_keep_every_bit) {
  const std::vector<float> numbers = {0.0f, -0.0f, 1.5f, -2.0f, 6.1035156e-05f, 65504.0f, 5.9604645e-08f};
  std::string f32, f16, bf16;
  for (const float number : numbers) {
    f32 += bytes_of(number);
    f16 += bytes_of(float16(number).bits);
    bf16 += bytes_of(bfloat16(number).bits);
  }
  for (const auto& [number, bytes] : {std::pair(0U, f32), std::pair(1U, f16), std::pair(30U, bf16)}) {
    std::vector<float> found(numbers.size());
    dequantise(*block_type(number), reinterpret_cast<const std::byte*>(bytes.data()), static_cast<Index>(found.size()),
               found.data());
    for (std::size_t i = 0; i < found.size(); ++i) {
      const float expected = number == 30U ? static_cast<float>(bfloat16(numbers[i])) : numbers[i];
      BOOST_TEST(found[i] == expected);
      BOOST_TEST(std::signbit(found[i]) == std::signbit(expected));
    }
  }
  // Halves and bfloat16 by their bits, not by the conversion under test.
  const std::string half_bytes = bytes_of<std::uint16_t>(0x3555) + bytes_of<std::uint16_t>(0x8001);
  float halves[2];
  dequantise(*block_type(1), reinterpret_cast<const std::byte*>(half_bytes.data()), 2, halves);
  BOOST_TEST(halves[0] == 0.333251953125f);
  BOOST_TEST(halves[1] == -5.9604644775390625e-08f);
  const std::string brain_bytes = bytes_of<std::uint16_t>(0x3eab) + bytes_of<std::uint16_t>(0xc040);
  float brains[2];
  dequantise(*block_type(30), reinterpret_cast<const std::byte*>(brain_bytes.data()), 2, brains);
  BOOST_TEST(brains[0] == 0.333984375f);
  BOOST_TEST(brains[1] == -3.0f);
}

BOOST_AUTO_TEST_CASE(types_that_cannot_be_read_still_have_names) {
  const std::map<std::uint32_t, std::string> unsupported = {{10, "Q2_K"},
                                                            {11, "Q3_K"},
                                                            {15, "Q8_K"},
                                                            {20, "IQ4_NL"},
                                                            {23, "IQ4_XS"},
                                                            {28, "F64"},
                                                            {29, "IQ1_M"},
                                                            {34, "TQ1_0"},
                                                            {39, "MXFP4"},
                                                            {40, "unknown"},
                                                            {4'000'000'000U, "unknown"}};
  for (const auto& [number, name] : unsupported) {
    BOOST_TEST(block_type(number) == nullptr);
    BOOST_TEST(block_type_name(number) == name);
  }
}

BOOST_AUTO_TEST_SUITE_END()
