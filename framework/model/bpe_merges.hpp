#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "framework/model/tokenizer.hpp"

namespace kronlab::model {

/// The merges of byte-pair encoding: which two adjacent symbols become one, and which pair goes first.
///
/// Sennrich, Haddow and Birch, Neural machine translation of rare words with subword units, 2016.
class BpeMerges {
 public:
  struct Merge {
    std::uint32_t rank = 0;  ///< lower goes first
    TokenId merged = 0;
  };

  explicit BpeMerges(Index num_merges);

  /// A pair that is added again takes the later rank. @pre at most as many pairs as the constructor was told
  void add(TokenId left, TokenId right, Merge merge);

  /// Merges adjacent symbols in place until no pair is left that has a merge: always the pair of lowest rank, the
  /// leftmost of these. O(n^2) for few symbols, O(n log n) for many.
  void apply(std::vector<TokenId>& symbols) const;

 private:
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};  // no pair of non-negative ids

  struct Slot {
    std::uint64_t pair = kEmpty;
    Merge merge;
  };

  static std::uint64_t pair_of(TokenId left, TokenId right) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 | static_cast<std::uint32_t>(right);
  }
  std::size_t home(std::uint64_t pair) const { return pair * 0x9E3779B97F4A7C15u >> shift_; }
  /// Null if the pair has no merge.
  const Merge* find(TokenId left, TokenId right) const;
  std::uint32_t rank(TokenId left, TokenId right) const;
  void apply_to_few(std::vector<TokenId>& symbols) const;
  void apply_to_many(std::vector<TokenId>& symbols) const;

  std::vector<Slot> slots_;  // open addressing, at most half full
  int shift_ = 0;
};

}  // namespace kronlab::model
