#include "framework/base/random.hpp"

#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>

namespace kronlab {
namespace {

using Philox = r123::Philox4x32;

struct Block {
  std::uint64_t low, high;
};

Block philox(std::uint64_t key, std::uint64_t counter, std::uint32_t domain) {
  const Philox::ctr_type block = {{static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32), domain, 0}};
  const Philox::key_type keys = {{static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)}};
  const auto out = Philox{}(block, keys);
  return {out[0] | std::uint64_t{out[1]} << 32, out[2] | std::uint64_t{out[3]} << 32};
}

constexpr std::uint32_t numbers_domain = 0, index_domain = 1, name_domain = 2;

}  // namespace

RandomStream RandomStream::child(std::uint64_t index) const { return RandomStream(philox(key_, index, index_domain).low); }

RandomStream RandomStream::child(std::string_view name) const {
  std::uint64_t key = philox(key_, name.size(), name_domain).low;
  for (std::size_t begin = 0; begin < name.size(); begin += 8) {
    std::uint64_t word = 0;
    for (std::size_t i = begin; i < name.size() && i < begin + 8; ++i) {
      word |= std::uint64_t{static_cast<unsigned char>(name[i])} << (8 * (i - begin));
    }
    key = philox(key, word, name_domain).low;
  }
  return RandomStream(key);
}

RandomStream::result_type RandomStream::operator()() {
  if (has_buffered_) {
    has_buffered_ = false;
    return buffered_;
  }
  const auto [low, high] = philox(key_, counter_++, numbers_domain);
  buffered_ = high;
  has_buffered_ = true;
  return low;
}

Index RandomStream::below(Index bound) {
  KRONLAB_EXPECTS(bound > 0, "bound {} must be positive", bound);
  const auto n = static_cast<std::uint64_t>(bound);
  const std::uint64_t rejected = (0 - n) % n;  // 2^64 mod n values would be drawn once too often
  while (true) {
    const std::uint64_t word = (*this)();
    if (word >= rejected) return static_cast<Index>(word % n);
  }
}

double RandomStream::normal() {
  const double radius = std::sqrt(-2.0 * std::log1p(-uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

std::vector<Index> RandomStream::permutation(Index n) {
  KRONLAB_EXPECTS(n >= 0, "length {} must not be negative", n);
  std::vector<Index> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), Index{0});
  for (Index i = n - 1; i > 0; --i) {
    std::swap(order[static_cast<std::size_t>(i)], order[static_cast<std::size_t>(below(i + 1))]);
  }
  return order;
}

}  // namespace kronlab
