#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "decompositions/factorization.hpp"
#include "framework/kernels/sparse_rows.hpp"

namespace kronlab::decompositions {

/// Which entries of a weight may stay: n of each m neighbours in a row, or any where m = 0.
struct SparsePattern {
  Index n = 0;
  Index m = 0;
  bool operator==(const SparsePattern&) const = default;
};

/// The entries of a weight that stay.
///
/// Stored in the smallest of: a mask of one bit per entry; for n:m the positions in each group, ceil(log2 m) bits each; for
/// any pattern the column of each entry in 16 bits with a row's first entry in 32 (at most 2^16 columns). Which one follows
/// from the shape, the pattern and the number of entries alone.
class KeptEntries {
 public:
  /// kept: [rows, cols], not 0 where an entry stays.
  /// @throws DataError if none stays, or not n in each group of m
  KeptEntries(Index rows, Index cols, SparsePattern pattern, std::span<const std::uint8_t> kept);
  /// Takes what `add_to` left. @throws DataError on what is missing, of the wrong size or out of range
  static KeptEntries from_parts(FactorizationParts& parts);

  Index rows() const { return rows_; }
  Index cols() const { return cols_; }
  SparsePattern pattern() const { return pattern_; }
  Index size() const { return row_starts_.back(); }  ///< number of entries that stay
  kernels::SparseRows view() const { return {mask_.data(), row_starts_.data(), rows_, cols_}; }
  /// [rows, cols], 1 where an entry stays.
  std::vector<std::uint8_t> flags() const;

  Index stored_bytes() const { return stored_bytes_of(rows_, cols_, pattern_, size()); }
  /// Without any weight. num_kept: entries that stay; of n:m it is known, and not looked at.
  /// @throws ConfigError if the pattern does not suit: n not in [1, m], m beyond 256 or not a divisor of the columns
  static Index stored_bytes_of(Index rows, Index cols, SparsePattern pattern, Index num_kept);
  /// Entries that a pattern keeps of such a weight. @pre m > 0  @throws ConfigError as stored_bytes_of
  static Index num_kept(Index rows, Index cols, SparsePattern pattern);
  /// Adds integers and tensors: rows, cols, n, m and "mask", "positions", or "columns" and "row_starts".
  void add_to(FactorizationParts& parts) const;

 private:
  Index rows_ = 0, cols_ = 0;
  SparsePattern pattern_;
  std::vector<std::uint8_t> mask_;  ///< as kernels::SparseRows has it
  std::vector<Index> row_starts_;
};

/// Flags of the entries that are not zero; of n:m, groups that have fewer are filled up from their left end.
/// weight: f32 or f64.  @throws DataError if a group of m has more than n, ConfigError as KeptEntries::stored_bytes_of
std::vector<std::uint8_t> nonzero_entries(ConstTensorView weight, SparsePattern pattern);

}  // namespace kronlab::decompositions
