#pragma once

#include <cstdint>

#include "framework/kernels/vectors.hpp"

/// How a row of small codes lies in memory: in chunks, each a few vectors of bytes. Byte l of a vector of L = lanes<float>
/// bytes holds codes of columns l, l + L, l + 2 L, ... of its chunk, so that widening the bytes, a shift and a mask give the
/// codes of L neighbouring columns, one per lane.
namespace kronlab::kernels {

/// L bytes as they lie in memory, and the same widened to a register of integers.
typedef std::uint8_t ByteLanes __attribute__((vector_size(vector_bytes / 4), aligned(1), may_alias));
typedef std::int32_t IntegerLanes __attribute__((vector_size(vector_bytes)));

inline IntegerLanes load_bytes(const std::uint8_t* bytes) {
  return __builtin_convertvector(*reinterpret_cast<const ByteLanes*>(bytes), IntegerLanes);
}

/// 8, 4 or 2 bits: step s of a chunk is in bits [s Bits, (s + 1) Bits) of its bytes.
template <int Bits>
struct Packing {
  static constexpr Index num_steps = 8 / Bits;
  static constexpr Index chunk_cols = num_steps * lanes<float>;
  static constexpr Index chunk_bytes = lanes<float>;
  static Index num_chunks(Index cols) { return (cols + chunk_cols - 1) / chunk_cols; }

  static std::uint8_t at(const std::uint8_t* row, Index c) {
    const Index within = c % chunk_cols;
    return row[c / chunk_cols * chunk_bytes + within % lanes<float>] >> (within / lanes<float> * Bits) & ((1 << Bits) - 1);
  }
  static void put(std::uint8_t* row, Index c, std::uint8_t code) {
    const Index within = c % chunk_cols;
    row[c / chunk_cols * chunk_bytes + within % lanes<float>] |= static_cast<std::uint8_t>(code << (within / lanes<float> * Bits));
  }

  /// body(step, codes of L columns) for the steps of a chunk.
  template <class Body>
  static void for_steps(const std::uint8_t* chunk, Body body) {
    const IntegerLanes bytes = load_bytes(chunk);
#pragma GCC unroll 8
    for (int s = 0; s < num_steps; ++s) {
      const IntegerLanes shifted = bytes >> (s * Bits);
      body(s, s + 1 == num_steps ? shifted : shifted & ((1 << Bits) - 1));
    }
  }
};

/// 3 bits: the lower two of eight steps as Packing<2> has them in two vectors, the third of step s in bit s of another.
template <>
struct Packing<3> {
  static constexpr Index num_steps = 8;
  static constexpr Index chunk_cols = num_steps * lanes<float>;
  static constexpr Index chunk_bytes = 3 * lanes<float>;
  static Index num_chunks(Index cols) { return (cols + chunk_cols - 1) / chunk_cols; }

  static std::uint8_t at(const std::uint8_t* row, Index c) {
    const std::uint8_t* chunk = row + c / chunk_cols * chunk_bytes;
    const Index within = c % chunk_cols, lane = within % lanes<float>, s = within / lanes<float>;
    return static_cast<std::uint8_t>((chunk[s / 4 * lanes<float> + lane] >> (s % 4 * 2) & 3) |
                                     (chunk[2 * lanes<float> + lane] >> s & 1) << 2);
  }
  static void put(std::uint8_t* row, Index c, std::uint8_t code) {
    std::uint8_t* chunk = row + c / chunk_cols * chunk_bytes;
    const Index within = c % chunk_cols, lane = within % lanes<float>, s = within / lanes<float>;
    chunk[s / 4 * lanes<float> + lane] |= static_cast<std::uint8_t>((code & 3) << (s % 4 * 2));
    chunk[2 * lanes<float> + lane] |= static_cast<std::uint8_t>((code >> 2) << s);
  }

  template <class Body>
  static void for_steps(const std::uint8_t* chunk, Body body) {
    const IntegerLanes low[] = {load_bytes(chunk), load_bytes(chunk + lanes<float>)}, high = load_bytes(chunk + 2 * lanes<float>);
#pragma GCC unroll 8
    for (int s = 0; s < num_steps; ++s) {
      const IntegerLanes third = s < 2 ? high << (2 - s) : high >> (s - 2);
      body(s, (low[s / 4] >> (s % 4 * 2) & 3) | (third & 4));
    }
  }
};

/// Calls body(Packing<bits>{}).
template <class Body>
void for_packing(Index bits, Body body) {
  switch (bits) {
    case 8:
      return body(Packing<8>());
    case 4:
      return body(Packing<4>());
    case 3:
      return body(Packing<3>());
    case 2:
      return body(Packing<2>());
    default:
      KRONLAB_EXPECTS(false, "codes of {} bits, expected 8, 4, 3 or 2", bits);
  }
}

/// The codes of a row as floats.  out: a whole number of chunks
template <class Packing>
void unpack_floats(const std::uint8_t* packed, Index cols, float* out) {
  using Vector = typename Lanes<float>::type;
  for (Index chunk = 0; chunk < Packing::num_chunks(cols); ++chunk) {
    float* target = out + chunk * Packing::chunk_cols;
    Packing::for_steps(packed + chunk * Packing::chunk_bytes, [&](int s, IntegerLanes codes) {
      *reinterpret_cast<Vector*>(target + s * lanes<float>) = __builtin_convertvector(codes, Vector);
    });
  }
}

}  // namespace kronlab::kernels
