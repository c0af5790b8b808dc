#pragma once

#include <cstdint>

#include "framework/base/types.hpp"

/// How a row of small codes lies in memory: in chunks of a few vectors of eight 32-bit words. Step s of a chunk is eight
/// neighbouring columns, column l in some bits of word l: a shift and a mask give their codes, one per lane.
namespace kronlab::kernels {

inline constexpr Index word_lanes = 8;  // 32 bytes: every machine has such registers, and wider ones gain nothing here
typedef std::uint32_t Words __attribute__((vector_size(32), may_alias));
typedef std::int32_t Codes __attribute__((vector_size(32)));
typedef float Floats __attribute__((vector_size(32), aligned(4), may_alias));

inline Words load_words(const std::uint32_t* words) {
  typedef std::uint32_t Unaligned __attribute__((vector_size(32), aligned(4), may_alias));
  return *reinterpret_cast<const Unaligned*>(words);
}

/// 8, 4 or 2 bits: step s of a chunk is in bits [s Bits, (s + 1) Bits) of its words.
template <int Bits>
struct Packing {
  static constexpr Index num_steps = 32 / Bits;
  static constexpr Index chunk_cols = num_steps * word_lanes;
  static constexpr Index chunk_words = word_lanes;
  static Index num_chunks(Index cols) { return (cols + chunk_cols - 1) / chunk_cols; }

  static std::uint8_t at(const std::uint32_t* row, Index c) {
    const Index within = c % chunk_cols;
    return row[c / chunk_cols * chunk_words + within % word_lanes] >> (within / word_lanes * Bits) & ((1U << Bits) - 1);
  }
  static void put(std::uint32_t* row, Index c, std::uint32_t code) {
    const Index within = c % chunk_cols;
    row[c / chunk_cols * chunk_words + within % word_lanes] |= code << (within / word_lanes * Bits);
  }

  /// body(step, codes of eight columns) for the steps of a chunk.
  template <class Body>
  static void for_steps(const std::uint32_t* chunk, Body body) {
    const Words words = load_words(chunk);
#pragma GCC unroll 16
    for (int s = 0; s < num_steps; ++s) {
      const Words shifted = words >> (s * Bits);
      body(s, reinterpret_cast<Codes>(s + 1 == num_steps ? shifted : shifted & ((1U << Bits) - 1)));
    }
  }
};

/// 3 bits: the lower two as Packing<2> has them; the third of step s and column l in bit s + 16 (l / 4) of word l % 4 of four
/// more words.
template <>
struct Packing<3> {
  using Lower = Packing<2>;
  static constexpr Index num_steps = Lower::num_steps;
  static constexpr Index chunk_cols = Lower::chunk_cols;
  static constexpr Index chunk_words = Lower::chunk_words + word_lanes / 2;
  static Index num_chunks(Index cols) { return (cols + chunk_cols - 1) / chunk_cols; }

  static std::uint8_t at(const std::uint32_t* row, Index c) {
    const std::uint32_t* chunk = row + c / chunk_cols * chunk_words;
    const Index within = c % chunk_cols, lane = within % word_lanes, s = within / word_lanes;
    return static_cast<std::uint8_t>((chunk[lane] >> (2 * s) & 3) | (chunk[word_lanes + lane % 4] >> (s + 16 * (lane / 4)) & 1) << 2);
  }
  static void put(std::uint32_t* row, Index c, std::uint32_t code) {
    std::uint32_t* chunk = row + c / chunk_cols * chunk_words;
    const Index within = c % chunk_cols, lane = within % word_lanes, s = within / word_lanes;
    chunk[lane] |= (code & 3) << (2 * s);
    chunk[word_lanes + lane % 4] |= (code >> 2) << (s + 16 * (lane / 4));
  }

  template <class Body>
  static void for_steps(const std::uint32_t* chunk, Body body) {
    typedef std::uint32_t FourWords __attribute__((vector_size(16), aligned(4), may_alias));
    const Words low = load_words(chunk);
    const FourWords four = *reinterpret_cast<const FourWords*>(chunk + word_lanes);
    constexpr Words halves{0, 0, 0, 0, 16, 16, 16, 16};
    const Words third = __builtin_shufflevector(four, four, 0, 1, 2, 3, 0, 1, 2, 3) >> halves << 2;
#pragma GCC unroll 16
    for (int s = 0; s < num_steps; ++s) body(s, reinterpret_cast<Codes>((low >> (2 * s) & 3) | (third >> s & 4)));
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
void unpack_floats(const std::uint32_t* packed, Index cols, float* out) {
  for (Index chunk = 0; chunk < Packing::num_chunks(cols); ++chunk) {
    float* target = out + chunk * Packing::chunk_cols;
    Packing::for_steps(packed + chunk * Packing::chunk_words,
                       [&](int s, Codes codes) { *reinterpret_cast<Floats*>(target + s * word_lanes) = __builtin_convertvector(codes, Floats); });
  }
}

}  // namespace kronlab::kernels
