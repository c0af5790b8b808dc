#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "framework/config/strict_table.hpp"

namespace kronlab::config {

/// Makes the object that a table's `kind` names, from the rest of the table: one line per kind.
template <class Product>
class Registry {
 public:
  using Factory = std::function<std::unique_ptr<Product>(const StrictTable& options)>;

  Registry(std::initializer_list<std::pair<const std::string, Factory>> factories) : factories_(factories) {}

  /// @throws ConfigError with the known kinds, or as the kind's factory
  std::unique_ptr<Product> make(const StrictTable& table) const {
    return factories_.at(table.choice("kind", kinds()))(table);
  }
  std::vector<std::string> kinds() const {
    std::vector<std::string> names;
    for (const auto& [kind, factory] : factories_) names.push_back(kind);
    return names;
  }

 private:
  std::map<std::string, Factory> factories_;
};

}  // namespace kronlab::config
