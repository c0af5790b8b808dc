#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "framework/tensor/tensor.hpp"

namespace kronlab::decompositions {

// How small integers are stored: `bits` bits each, one behind the other, the lowest bit first, in 32-bit words; what is left
// of the last word is zero.

/// Bytes of `count` integers.
constexpr Index packed_bytes(Index count, Index bits) { return 4 * ((count * bits + 31) / 32); }

/// i32 [words].  values: each below 2^bits; bits: 1 to 16
Tensor packed_bits(std::span<const std::uint8_t> values, Index bits);
Tensor packed_bits(std::span<const std::uint16_t> values, Index bits);

/// The inverse. `what` is for the message. @throws DataError if the words are of another number or type, or bits are left over
std::vector<std::uint8_t> unpacked_bytes(const Tensor& words, Index count, Index bits, const char* what);
std::vector<std::uint16_t> unpacked_shorts(const Tensor& words, Index count, Index bits, const char* what);

}  // namespace kronlab::decompositions
