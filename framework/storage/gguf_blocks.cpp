#include "framework/storage/gguf_blocks.hpp"

#include <array>
#include <cstring>

namespace kronlab::storage {
namespace {

constexpr std::array<BlockType, 11> types = {{{0, "F32", 1, 4},
                                              {1, "F16", 1, 2},
                                              {2, "Q4_0", 32, 18},
                                              {3, "Q4_1", 32, 20},
                                              {6, "Q5_0", 32, 22},
                                              {7, "Q5_1", 32, 24},
                                              {8, "Q8_0", 32, 34},
                                              {12, "Q4_K", 256, 144},
                                              {13, "Q5_K", 256, 176},
                                              {14, "Q6_K", 256, 210},
                                              {30, "BF16", 1, 2}}};

constexpr std::array<std::string_view, 40> names = {
    "F32",    "F16",      "Q4_0",     "Q4_1",     "Q4_2",  "Q4_3",  "Q5_0",       "Q5_1",       "Q8_0",       "Q8_1",
    "Q2_K",   "Q3_K",     "Q4_K",     "Q5_K",     "Q6_K",  "Q8_K",  "IQ2_XXS",    "IQ2_XS",     "IQ3_XXS",    "IQ1_S",
    "IQ4_NL", "IQ3_S",    "IQ2_S",    "IQ4_XS",   "I8",    "I16",   "I32",        "I64",        "F64",        "IQ1_M",
    "BF16",   "Q4_0_4_4", "Q4_0_4_8", "Q4_0_8_8", "TQ1_0", "TQ2_0", "IQ4_NL_4_4", "IQ4_NL_4_8", "IQ4_NL_8_8", "MXFP4"};

float half_at(const std::uint8_t* p) {
  float16 value;
  std::memcpy(&value.bits, p, 2);
  return static_cast<float>(value);
}

std::uint32_t word_at(const std::uint8_t* p) {
  std::uint32_t value;
  std::memcpy(&value, p, 4);
  return value;
}

/// Blocks of 32 with a scale and perhaps a minimum; 4-bit values lie low nibbles first, then high nibbles.
void q4(const std::uint8_t* p, float scale, float offset, float* out) {
  for (int i = 0; i < 16; ++i) {
    out[i] = scale * static_cast<float>(p[i] & 15) + offset;
    out[i + 16] = scale * static_cast<float>(p[i] >> 4) + offset;
  }
}

/// The same with a fifth bit for each element in one word.
void q5(const std::uint8_t* p, std::uint32_t high, float scale, float offset, float* out) {
  for (int i = 0; i < 16; ++i) {
    out[i] = scale * static_cast<float>((p[i] & 15) | ((high >> i) & 1) << 4) + offset;
    out[i + 16] = scale * static_cast<float>((p[i] >> 4) | ((high >> (i + 16)) & 1) << 4) + offset;
  }
}

void q8_0(const std::uint8_t* p, float* out) {
  const float scale = half_at(p);
  for (int i = 0; i < 32; ++i) out[i] = scale * static_cast<float>(static_cast<std::int8_t>(p[2 + i]));
}

/// Scale and minimum j of the eight that K-blocks pack as 6-bit numbers in 12 bytes.
struct ScaleMin {
  float scale, minimum;
};
ScaleMin scale_min(const std::uint8_t* q, int j) {
  if (j < 4) return {static_cast<float>(q[j] & 63), static_cast<float>(q[j + 4] & 63)};
  return {static_cast<float>((q[j + 4] & 15) | (q[j - 4] >> 6) << 4),
          static_cast<float>((q[j + 4] >> 4) | (q[j] >> 6) << 4)};
}

/// Q4_K and Q5_K: eight groups of 32; a pair of groups shares 32 bytes of nibbles; Q5_K has 32 bytes of fifth bits.
void k45(const std::uint8_t* p, const std::uint8_t* fifth_bits, const std::uint8_t* nibbles, float* out) {
  const float d = half_at(p), dmin = half_at(p + 2);
  for (int group = 0; group < 8; ++group) {
    const auto [scale, minimum] = scale_min(p + 4, group);
    for (int i = 0; i < 32; ++i) {
      const int nibble = nibbles[group / 2 * 32 + i] >> (group % 2 * 4) & 15;
      const int high = fifth_bits ? (fifth_bits[i] >> group & 1) << 4 : 0;
      out[group * 32 + i] = d * scale * static_cast<float>(nibble | high) - dmin * minimum;
    }
  }
}

/// 16 groups of 16 with signed scales; low four bits, then upper two bits, the scales, the block scale.
void q6_k(const std::uint8_t* p, float* out) {
  const float d = half_at(p + 208);
  const auto* scales = reinterpret_cast<const std::int8_t*>(p + 192);
  for (int half = 0; half < 2; ++half) {
    const std::uint8_t *low = p + 64 * half, *high = p + 128 + 32 * half;
    for (int quarter = 0; quarter < 4; ++quarter) {
      for (int i = 0; i < 32; ++i) {
        const int nibble = low[quarter % 2 * 32 + i] >> (quarter / 2 * 4) & 15;
        const int value = (nibble | (high[i] >> (2 * quarter) & 3) << 4) - 32;
        out[128 * half + 32 * quarter + i] =
            d * static_cast<float>(scales[8 * half + 2 * quarter + i / 16]) * static_cast<float>(value);
      }
    }
  }
}

void block_to_float(std::uint32_t type, const std::uint8_t* p, float* out) {
  switch (type) {
    case 2:
      return q4(p + 2, half_at(p), -8.0f * half_at(p), out);
    case 3:
      return q4(p + 4, half_at(p), half_at(p + 2), out);
    case 6:
      return q5(p + 6, word_at(p + 2), half_at(p), -16.0f * half_at(p), out);
    case 7:
      return q5(p + 8, word_at(p + 4), half_at(p), half_at(p + 2), out);
    case 8:
      return q8_0(p, out);
    case 12:
      return k45(p, nullptr, p + 16, out);
    case 13:
      return k45(p, p + 16, p + 48, out);
    case 14:
      return q6_k(p, out);
    default:
      KRONLAB_EXPECTS(false, "no block type {}", type);
  }
}

}  // namespace

const BlockType* block_type(std::uint32_t number) {
  for (const auto& type : types) {
    if (type.number == number) return &type;
  }
  return nullptr;
}

std::string_view block_type_name(std::uint32_t number) { return number < names.size() ? names[number] : "unknown"; }

void dequantise(const BlockType& type, const std::byte* blocks, Index count, float* out) {
  const auto* p = reinterpret_cast<const std::uint8_t*>(blocks);
  if (type.number == 0) {
    std::memcpy(out, p, static_cast<std::size_t>(count) * 4);
  } else if (type.number == 1) {
    for (Index i = 0; i < count; ++i) out[i] = half_at(p + 2 * i);
  } else if (type.number == 30) {
    for (Index i = 0; i < count; ++i) {
      bfloat16 value;
      std::memcpy(&value.bits, p + 2 * i, 2);
      out[i] = static_cast<float>(value);
    }
  } else {
    for (Index i = 0; i < count; i += type.elements, p += type.bytes) block_to_float(type.number, p, out + i);
  }
}

}  // namespace kronlab::storage
