#pragma once

#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "framework/config/value.hpp"

namespace kronlab::config {

/// What a number may be, both ends included.
template <class T>
struct Limits {
  T least = std::numeric_limits<T>::lowest();
  T most = std::numeric_limits<T>::max();
};

/// The most of anything that is counted: a product of two counts is a number still.
inline constexpr Index max_count = (Index{1} << 31) - 1;
/// From `least` things to as many as can be counted.
inline Limits<Index> count_from(Index least) { return {.least = least, .most = max_count}; }

/// A table of the user's configuration, read key by key: every access says what is expected, and what nobody asked for
/// is an error. Messages start with file, line and column.
///
/// Copies are handles to the same table. What was read, defaults included, is `resolved()`.
class StrictTable {
 public:
  /// @throws ConfigError if `table` is no table
  explicit StrictTable(Value table, std::string path = "");

  bool has(const std::string& key) const;

  // A key with no fallback is required. @throws ConfigError on a missing key, another type, or a value out of limits
  std::string text(const std::string& key) const;
  std::string text(const std::string& key, const std::string& fallback) const;
  Index integer(const std::string& key, Limits<Index> limits = {}) const;
  Index integer(const std::string& key, Index fallback, Limits<Index> limits = {}) const;
  std::optional<Index> find_integer(const std::string& key, Limits<Index> limits = {}) const;
  double number(const std::string& key, Limits<double> limits = {}) const;
  double number(const std::string& key, double fallback, Limits<double> limits = {}) const;
  std::optional<double> find_number(const std::string& key, Limits<double> limits = {}) const;
  bool flag(const std::string& key, bool fallback) const;
  /// One of `known`. @throws ConfigError with all of them and the nearest
  std::string choice(const std::string& key, const std::vector<std::string>& known) const;
  std::string choice(const std::string& key, const std::vector<std::string>& known, const std::string& fallback) const;
  /// A text is a list of one.
  std::vector<std::string> texts(const std::string& key) const;
  std::vector<Index> integers(const std::string& key) const;
  std::vector<double> numbers(const std::string& key) const;
  /// `[[1, 2], [2, 4]]`; nothing where the key is not there or is a text.
  std::optional<std::vector<std::pair<Index, Index>>> integer_pairs(const std::string& key) const;

  StrictTable table(const std::string& key) const;
  std::optional<StrictTable> find_table(const std::string& key) const;
  /// An empty one where there is none, so that its defaults are resolved too.
  StrictTable table_or_empty(const std::string& key) const;
  /// An array of tables; none if the key is not there.
  std::vector<StrictTable> tables(const std::string& key) const;

  /// @throws ConfigError for the first key, here or in a table below that was read, that nobody asked for
  void finish() const;
  /// All that was read, with defaults, tables below included.
  Value resolved() const;

  /// `resolved()` shall hold this for the key: what the text stands for, such as an absolute path.
  void resolve(const std::string& key, Value value) const;
  /// Throws a ConfigError at the position of `key` (or of the table): "file:3:12: decompose.num_terms: MESSAGE".
  [[noreturn]] void fail(const std::string& key, const std::string& message) const;
  const std::string& path() const;

 private:
  struct State;
  const Value* find(const std::string& key) const;
  const Value& require(const std::string& key) const;
  template <class T>
  const T& typed(const std::string& key, const Value& value, const char* wanted) const;
  double number_of(const std::string& key, const Value& value) const;
  template <class T>
  T checked(const std::string& key, T value, Limits<T> limits) const;
  StrictTable child(const std::string& key, const Value& value, std::size_t index, bool in_array) const;
  std::string path_of(const std::string& key) const;

  std::shared_ptr<State> state_;
};

}  // namespace kronlab::config
