#pragma once

#include <memory>
#include <string>

#include "decompositions/registry.hpp"
#include "framework/config/value.hpp"

namespace kronlab::testing {

/// The decomposer of a table with these keys, all of which it has to know.
inline std::unique_ptr<decompositions::Decomposer> configured(const std::string& toml) {
  const config::StrictTable table(config::parse_toml(toml, "f.toml"));
  auto decomposer = decompositions::decomposer_from(table);
  table.finish();
  return decomposer;
}

}  // namespace kronlab::testing
