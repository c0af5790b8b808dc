#pragma once

#include <set>
#include <string>
#include <vector>

#include "framework/config/value.hpp"

namespace kronlab::config {

/// The runs that an entry of a sweep applies to: `{ "stage.0.decompose.kind" = ["kronecker", "svd"] }`.
///
/// Values are equal if they are written alike; numbers, if they are the same number.
class When {
 public:
  struct Condition {
    std::string path;
    Value::Array values;  ///< any of them
    Position position;
    bool is_met = false;               ///< some configuration had a value there
    std::set<std::string> candidates;  ///< paths of configurations that had none
  };

  /// Holds for every run.
  When() = default;
  /// @throws ConfigError unless `value` is a table of paths, each with a value or a list of values, none of them a table
  explicit When(const Value& value);

  /// Whether a configuration has one of the values at every path; what it does not say itself, such as a default, it
  /// does not have. Remembers which paths were there.
  bool holds(const Value& config);
  /// @throws ConfigError for a path that was in no configuration given to `holds`, with the nearest that was
  void expect_met() const;
  const std::vector<Condition>& conditions() const { return conditions_; }

 private:
  std::vector<Condition> conditions_;
};

}  // namespace kronlab::config
