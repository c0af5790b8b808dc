#include "decompositions/sparse_pattern.hpp"

#include <algorithm>
#include <bit>
#include <limits>

#include "decompositions/bit_packing.hpp"
#include "decompositions/part_access.hpp"

namespace kronlab::decompositions {
namespace {

enum class Form { mask, positions, columns };

constexpr Index most_columns = 65536;  // that 16 bits can name

template <class Error>
void expect_suitable(Index cols, SparsePattern pattern) {
  const auto [n, m] = pattern;
  if (m == 0 && n == 0) return;
  if (m < 1 || m > 256 || n < 1 || n > m) throw Error(fmt::format("sparse: a pattern {}:{}, expected n:m with 1 <= n <= m <= 256", n, m));
  if (cols % m != 0) throw Error(fmt::format("sparse: groups of {}:{} do not divide {} columns", n, m, cols));
}

/// Bits of a position in a group of m.
Index position_bits(Index m) { return std::max(Index{1}, static_cast<Index>(std::bit_width(static_cast<std::uint64_t>(m - 1)))); }

Index bytes_in(Form form, Index rows, Index cols, SparsePattern pattern, Index num_kept) {
  switch (form) {
    case Form::mask:
      return packed_bytes(rows * cols, 1);
    case Form::positions:
      return packed_bytes(num_kept, position_bits(pattern.m));
    case Form::columns:
      return packed_bytes(num_kept, 16) + 4 * (rows + 1);
  }
  return 0;
}

Form smallest_form(Index rows, Index cols, SparsePattern pattern, Index num_kept) {
  const auto is_smaller = [&](Form form) {
    return bytes_in(form, rows, cols, pattern, num_kept) < bytes_in(Form::mask, rows, cols, pattern, num_kept);
  };
  if (pattern.m > 0) return is_smaller(Form::positions) ? Form::positions : Form::mask;
  const bool fits = cols <= most_columns && num_kept <= std::numeric_limits<std::int32_t>::max();
  return fits && is_smaller(Form::columns) ? Form::columns : Form::mask;
}

/// Flags from positions in groups, which rise within each.
std::vector<std::uint8_t> flags_from_positions(const std::vector<std::uint8_t>& positions, Index rows, Index cols, SparsePattern pattern) {
  std::vector<std::uint8_t> flags(static_cast<std::size_t>(rows * cols));
  for (std::size_t i = 0; i < positions.size(); ++i) {
    const auto [n, m] = pattern;
    if (positions[i] >= m) throw DataError(fmt::format("sparse: position {} in a group of {}", positions[i], m));
    const bool is_first = static_cast<Index>(i) % n == 0;
    if (!is_first && positions[i] <= positions[i - 1])
      throw DataError(fmt::format("sparse: position {} behind {} in a group, expected rising ones", positions[i], positions[i - 1]));
    flags[static_cast<std::size_t>(static_cast<Index>(i) / n * m + positions[i])] = 1;
  }
  return flags;
}

std::vector<std::uint8_t> flags_from_columns(const Tensor& starts, const Tensor& words, Index rows, Index cols) {
  if (starts.dtype() != DType::i32 || starts.size() != rows + 1)
    throw DataError(fmt::format("sparse: {} row starts of type {}, expected {} of i32", starts.size(), to_string(starts.dtype()), rows + 1));
  const auto first = starts.values<std::int32_t>();
  if (first[0] != 0 || !std::ranges::is_sorted(first)) throw DataError("sparse: row starts do not rise from 0");
  const auto columns = unpacked_shorts(words, first.back(), 16, "sparse columns");
  std::vector<std::uint8_t> flags(static_cast<std::size_t>(rows * cols));
  for (Index row = 0; row < rows; ++row) {
    for (auto i = static_cast<std::size_t>(first[static_cast<std::size_t>(row)]); i < static_cast<std::size_t>(first[static_cast<std::size_t>(row + 1)]); ++i) {
      const bool rises = i == static_cast<std::size_t>(first[static_cast<std::size_t>(row)]) || columns[i] > columns[i - 1];
      if (columns[i] >= cols || !rises) throw DataError(fmt::format("sparse: row {}: column {} is out of range or out of sequence", row, columns[i]));
      flags[static_cast<std::size_t>(row * cols + columns[i])] = 1;
    }
  }
  return flags;
}

}  // namespace

KeptEntries::KeptEntries(Index rows, Index cols, SparsePattern pattern, std::span<const std::uint8_t> kept)
    : rows_(rows), cols_(cols), pattern_(pattern), row_starts_(1) {
  if (static_cast<Index>(kept.size()) != checked_product(rows, cols, "sparse")) throw DataError(fmt::format("sparse: {} flags for {} x {} entries", kept.size(), rows, cols));
  expect_suitable<DataError>(cols, pattern);
  const Index row_bytes = kernels::SparseRows::mask_bytes(cols);
  mask_.resize(static_cast<std::size_t>(rows * row_bytes));
  Index count = 0;
  for (Index i = 0; i < rows; ++i) {
    Index before = count;  // of the group
    for (Index c = 0; c < cols; ++c) {
      if (kept[static_cast<std::size_t>(i * cols + c)] != 0) {
        mask_[static_cast<std::size_t>(i * row_bytes + c / 8)] |= static_cast<std::uint8_t>(1 << c % 8);
        ++count;
      }
      if (pattern.m == 0 || (c + 1) % pattern.m != 0) continue;
      if (count - before != pattern.n) {
        throw DataError(fmt::format("sparse: row {}, columns {} to {}: {} entries stay, expected {} of {}", i, c + 1 - pattern.m, c, count - before, pattern.n, pattern.m));
      }
      before = count;
    }
    row_starts_.push_back(count);
  }
  if (count == 0) throw DataError(fmt::format("sparse: all {} x {} entries are pruned", rows, cols));
}

KeptEntries KeptEntries::from_parts(FactorizationParts& parts) {
  const Index rows = integer_of(parts, "rows"), cols = integer_of(parts, "cols");
  const Index size = checked_product(rows, cols, "sparse");
  if (size == 0) throw DataError(fmt::format("sparse: {} x {} entries", rows, cols));
  const SparsePattern pattern{integer_of(parts, "n"), integer_of(parts, "m")};
  expect_suitable<DataError>(cols, pattern);
  std::vector<std::uint8_t> flags;
  if (parts.tensors.contains("columns")) {
    if (cols > most_columns) throw DataError(fmt::format("sparse: columns in 16 bits of {} columns", cols));
    flags = flags_from_columns(take_tensor(parts, "row_starts"), take_tensor(parts, "columns"), rows, cols);
  } else if (parts.tensors.contains("positions")) {
    if (pattern.m == 0) throw DataError("sparse: positions without groups");
    const auto positions = unpacked_bytes(take_tensor(parts, "positions"), num_kept(rows, cols, pattern), position_bits(pattern.m), "sparse positions");
    flags = flags_from_positions(positions, rows, cols, pattern);
  } else {
    flags = unpacked_bytes(take_tensor(parts, "mask"), size, 1, "sparse mask");
  }
  return {rows, cols, pattern, flags};
}

std::vector<std::uint8_t> KeptEntries::flags() const {
  std::vector<std::uint8_t> flags;
  const Index row_bytes = kernels::SparseRows::mask_bytes(cols_);
  for (Index i = 0; i < rows_; ++i) {
    for (Index c = 0; c < cols_; ++c) flags.push_back(mask_[static_cast<std::size_t>(i * row_bytes + c / 8)] >> c % 8 & 1);
  }
  return flags;
}

Index KeptEntries::num_kept(Index rows, Index cols, SparsePattern pattern) {
  expect_suitable<ConfigError>(cols, pattern);
  KRONLAB_EXPECTS(pattern.m > 0, "the number of entries of no pattern");
  return rows * cols / pattern.m * pattern.n;
}

Index KeptEntries::stored_bytes_of(Index rows, Index cols, SparsePattern pattern, Index num) {
  expect_suitable<ConfigError>(cols, pattern);
  if (pattern.m > 0) num = num_kept(rows, cols, pattern);
  return bytes_in(smallest_form(rows, cols, pattern, num), rows, cols, pattern, num);
}

void KeptEntries::add_to(FactorizationParts& parts) const {
  parts.integers["rows"] = rows_, parts.integers["cols"] = cols_;
  parts.integers["n"] = pattern_.n, parts.integers["m"] = pattern_.m;
  const auto kept = flags();
  const Form form = smallest_form(rows_, cols_, pattern_, size());
  if (form == Form::mask) {
    parts.tensors["mask"] = packed_bits(kept, 1);
    return;
  }
  std::vector<std::uint8_t> positions;
  std::vector<std::uint16_t> columns;
  for (std::size_t i = 0; i < kept.size(); ++i) {
    if (kept[i] == 0) continue;
    const Index column = static_cast<Index>(i) % cols_;
    if (form == Form::columns) {
      columns.push_back(static_cast<std::uint16_t>(column));
    } else {
      positions.push_back(static_cast<std::uint8_t>(column % pattern_.m));
    }
  }
  if (form == Form::positions) {
    parts.tensors["positions"] = packed_bits(positions, position_bits(pattern_.m));
    return;
  }
  Tensor starts(DType::i32, {rows_ + 1});
  std::ranges::transform(row_starts_, starts.values<std::int32_t>().begin(), [](Index start) { return static_cast<std::int32_t>(start); });
  parts.tensors["row_starts"] = std::move(starts);
  parts.tensors["columns"] = packed_bits(columns, 16);
}

std::vector<std::uint8_t> nonzero_entries(ConstTensorView weight, SparsePattern pattern) {
  expect_suitable<ConfigError>(weight.cols, pattern);
  const auto values = to_matrix<double>(weight);
  std::vector<std::uint8_t> kept(static_cast<std::size_t>(values.size()));
  for (Index i = 0; i < values.size(); ++i) kept[static_cast<std::size_t>(i)] = values.data()[i] != 0;
  if (pattern.m == 0) return kept;
  for (auto group = kept.begin(); group != kept.end(); group += pattern.m) {
    const auto end = group + pattern.m;
    auto missing = pattern.n - static_cast<Index>(std::count(group, end, 1));
    if (missing < 0) {
      const auto place = static_cast<Index>(group - kept.begin());
      throw DataError(fmt::format("sparse: row {}, columns {} to {}: {} entries are not zero, at most {} of {} may be", place / weight.cols, place % weight.cols,
                                  place % weight.cols + pattern.m - 1, pattern.n - missing, pattern.n, pattern.m));
    }
    for (auto entry = group; missing > 0; ++entry) {
      if (*entry == 0) *entry = 1, --missing;
    }
  }
  return kept;
}

}  // namespace kronlab::decompositions
