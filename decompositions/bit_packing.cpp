#include "decompositions/bit_packing.hpp"

namespace kronlab::decompositions {
namespace {

template <class Integer>
Tensor packed(std::span<const Integer> values, Index bits) {
  Tensor words(DType::i32, {packed_bytes(static_cast<Index>(values.size()), bits) / 4});
  const auto out = words.values<std::int32_t>();
  std::uint64_t waiting = 0;
  Index num_waiting = 0;
  std::size_t next = 0;
  for (const Integer value : values) {
    KRONLAB_EXPECTS(value >> bits == 0, "{} does not fit into {} bits", value, bits);
    waiting |= std::uint64_t{value} << num_waiting;
    num_waiting += bits;
    if (num_waiting < 32) continue;
    out[next++] = static_cast<std::int32_t>(static_cast<std::uint32_t>(waiting));
    waiting >>= 32, num_waiting -= 32;
  }
  if (num_waiting > 0) out[next] = static_cast<std::int32_t>(static_cast<std::uint32_t>(waiting));
  return words;
}

template <class Integer>
std::vector<Integer> unpacked(const Tensor& words, Index count, Index bits, const char* what) {
  if (words.dtype() != DType::i32) throw DataError(fmt::format("{}: packed as {}, expected i32", what, to_string(words.dtype())));
  if (words.size_bytes() != packed_bytes(count, bits)) {
    throw DataError(fmt::format("{}: {} bytes, expected {} for {} integers of {} bits", what, words.size_bytes(), packed_bytes(count, bits), count, bits));
  }
  std::vector<Integer> values(static_cast<std::size_t>(count));
  const auto in = words.values<std::int32_t>();
  std::uint64_t waiting = 0;
  Index num_waiting = 0;
  std::size_t next = 0;
  for (Integer& value : values) {
    if (num_waiting < bits) {
      waiting |= std::uint64_t{static_cast<std::uint32_t>(in[next++])} << num_waiting;
      num_waiting += 32;
    }
    value = static_cast<Integer>(waiting & ((1U << bits) - 1));
    waiting >>= bits, num_waiting -= bits;
  }
  if (waiting != 0) throw DataError(fmt::format("{}: bits are set behind the last of {} integers of {} bits", what, count, bits));
  return values;
}

}  // namespace

Tensor packed_bits(std::span<const std::uint8_t> values, Index bits) { return packed(values, bits); }
Tensor packed_bits(std::span<const std::uint16_t> values, Index bits) { return packed(values, bits); }

std::vector<std::uint8_t> unpacked_bytes(const Tensor& words, Index count, Index bits, const char* what) {
  return unpacked<std::uint8_t>(words, count, bits, what);
}
std::vector<std::uint16_t> unpacked_shorts(const Tensor& words, Index count, Index bits, const char* what) {
  return unpacked<std::uint16_t>(words, count, bits, what);
}

}  // namespace kronlab::decompositions
