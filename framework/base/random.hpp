#pragma once

#include <Random123/philox.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "framework/base/types.hpp"

namespace kronlab {

/// A counter-based random stream, named by purpose and index: a tree whose nodes are independent streams.
///
///   RandomStream(seed).child("permutation").child("layers.3.mlp.up_proj").child(2)
///
/// The key of a child is a hash of its parent's key and its name, so no rank, time or thread enters and the number of
/// ranks never changes a result. Philox4x32-10: Salmon et al., Parallel random numbers: as easy as 1, 2, 3, 2011.
class RandomStream {
 public:
  using result_type = std::uint64_t;  // a UniformRandomBitGenerator

  explicit RandomStream(std::uint64_t seed) : key_(seed) {}

  RandomStream child(std::string_view name) const;
  RandomStream child(std::uint64_t index) const;

  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return ~result_type{0}; }
  result_type operator()();

  /// Uniform in [0, 1), 53 bits.
  double uniform() { return static_cast<double>((*this)() >> 11) * 0x1.0p-53; }
  /// Uniform in 0 .. bound-1, without bias. @pre bound > 0
  Index below(Index bound);
  /// Standard normal (Box-Muller).
  double normal();
  /// A uniformly random permutation of 0 .. n-1 (Fisher-Yates).
  std::vector<Index> permutation(Index n);

 private:
  std::uint64_t key_ = 0;
  std::uint64_t counter_ = 0;
  std::uint64_t buffered_ = 0;
  bool has_buffered_ = false;
};

}  // namespace kronlab
