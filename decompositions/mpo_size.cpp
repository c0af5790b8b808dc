#include "decompositions/mpo_size.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "decompositions/site_factors.hpp"
#include "framework/config/strict_table.hpp"

namespace kronlab::decompositions {
namespace {

std::string sites_text(const SiteFactors& sites) { return fmt::format("({}) by ({})", product_text(sites.rows), product_text(sites.cols)); }

/// The product, or what is more than `most` on the way to it.
Index product_beyond(const std::vector<Index>& factors, Index most) {
  Index product = 1;
  for (const Index factor : factors) product = product > most ? product : product * factor;
  return product;
}

}  // namespace

std::vector<Index> SiteFactors::extents() const {
  std::vector<Index> all;
  for (std::size_t k = 0; k < rows.size(); ++k) all.push_back(rows[k] * cols[k]);
  return all;
}

SiteRule::SiteRule(std::vector<Index> row_factors, std::vector<Index> col_factors, std::optional<Index> num_sites, std::string_view kind)
    : row_factors_(std::move(row_factors)), col_factors_(std::move(col_factors)), kind_(kind) {
  const auto& given = row_factors_.empty() ? col_factors_ : row_factors_;
  num_sites_ = num_sites ? *num_sites : given.empty() ? 3 : static_cast<Index>(given.size());
  if (num_sites_ < 2) throw ConfigError(fmt::format("{}: {} site(s), expected two or more", kind, num_sites_));
  for (const auto& [name, factors] : {std::pair{"row_factors", &row_factors_}, {"col_factors", &col_factors_}}) {
    if (!factors->empty() && static_cast<Index>(factors->size()) != num_sites_) {
      throw ConfigError(fmt::format("{}: {} has {} factors, expected {}: one for each site, of rows and of columns", kind, name, factors->size(), num_sites_));
    }
    for (const Index factor : *factors) {
      if (factor < 1 || factor > config::max_count) throw ConfigError(fmt::format("{}: {} has {}, expected 1 to {}", kind, name, factor, config::max_count));
    }
  }
}

SiteFactors SiteRule::of(const std::string& layer, Index rows, Index cols, Rows how) const { return {rows_of(layer, rows, how), cols_of(layer, cols)}; }

std::vector<Index> SiteRule::cols_of(const std::string& layer, Index cols) const {
  auto factors = exact(col_factors_, cols, fmt::format("columns of `{}`", layer));
  if (col_factors_.empty()) std::ranges::reverse(factors);
  return factors;
}

std::vector<Index> SiteRule::rows_of(const std::string& layer, Index rows, Rows how) const {
  if (how == Rows::exact) return exact(row_factors_, rows, fmt::format("rows of `{}`", layer));
  constexpr double spread = 1.5;  // some rows of padding cost less than sites of very different sizes
  if (row_factors_.empty()) return padded_factors(rows, num_sites_, spread);
  const Index product = product_beyond(row_factors_, rows);
  if (product < rows)
    throw ConfigError(fmt::format("{}: row_factors {} make {}, expected at least the rows of `{}`, {}", kind_, product_text(row_factors_), product, layer, rows));
  return row_factors_;
}

std::vector<Index> SiteRule::exact(const std::vector<Index>& given, Index extent, const std::string& what) const {
  if (!given.empty()) {
    const Index product = product_beyond(given, extent);
    if (product == extent) return given;
    throw ConfigError(fmt::format("{}: {} are {}, the factors {} make {}", kind_, what, extent, product_text(given), product > extent ? "more" : std::to_string(product)));
  }
  if (const auto factors = balanced_factors(extent, num_sites_)) return *factors;
  const auto nearest = nearest_factorable(extent, num_sites_);
  const auto possible = nearest.below > 0 ? fmt::format("{} and {} can be", nearest.below, nearest.above) : fmt::format("{} can be", nearest.above);
  throw ConfigError(fmt::format("{}: {} ({}) are no product of {} factors of about the same size; {}; or give the factors, which may be 1",
                                kind_, what, extent, num_sites_, possible));
}

std::vector<CoreShape> core_shapes(const SiteFactors& sites, Index bond_dimension) {
  const auto bonds = bonds_of(sites.extents(), bond_dimension);
  std::vector<CoreShape> shapes;
  for (std::size_t k = 0; k < sites.rows.size(); ++k)
    shapes.push_back({k == 0 ? 1 : bonds[k - 1], sites.rows[k], sites.cols[k], k < bonds.size() ? bonds[k] : 1});
  return shapes;
}

Index num_parameters(const std::vector<CoreShape>& shapes) {
  Index sum = 0;
  for (const auto& shape : shapes) sum += shape.size();
  return sum;
}

void BondSize::expect_valid(std::string_view kind) const {
  if (bond_dimension && keep) throw ConfigError(fmt::format("{}: give either bond_dimension or keep", kind));
  if (!bond_dimension && !keep && !truncation_error) throw ConfigError(fmt::format("{}: give bond_dimension, keep or truncation_error", kind));
  if (truncation_error && !(*truncation_error > 0 && *truncation_error < 1))
    throw ConfigError(fmt::format("{}: truncation_error is {}, expected a relative error between 0 and 1", kind, *truncation_error));
  if (bond_dimension && *bond_dimension < 1) throw ConfigError(fmt::format("{}: bond_dimension is {}, expected at least 1", kind, *bond_dimension));
  if (keep && !(*keep > 0 && *keep <= 2)) throw ConfigError(fmt::format("{}: keep is {}, expected a share of the parameters above 0", kind, *keep));
}

Index bond_dimension_of(const BondSize& size, const SiteFactors& sites, Index parameters, Index beside, std::string_view kind,
                        const std::string& layer) {
  const auto full = bonds_of(sites.extents(), std::numeric_limits<Index>::max());
  const Index most = full.empty() ? 1 : *std::ranges::max_element(full);
  if (size.bond_dimension) {
    if (*size.bond_dimension > most) {
      throw ConfigError(fmt::format("{}: bond_dimension {} for {}, but bonds of sites {} have full dimensions {}: at most {}", kind,
                                    *size.bond_dimension, layer, sites_text(sites), fmt::join(full, ", "), most));
    }
    return *size.bond_dimension;
  }
  if (!size.keep) return most;
  const auto needed = [&](Index bond) { return static_cast<double>(num_parameters(core_shapes(sites, bond)) + beside); };
  const double allowed = *size.keep * static_cast<double>(parameters);
  if (needed(1) > allowed) {
    throw ConfigError(fmt::format("{}: keep is {} for {}, but sites {} need at least {:.3g}, with a bond dimension of 1", kind, *size.keep,
                                  layer, sites_text(sites), needed(1) / static_cast<double>(parameters)));
  }
  Index fits = 1, too_many = most + 1;
  while (too_many - fits > 1) {
    const Index middle = fits + (too_many - fits) / 2;
    (needed(middle) <= allowed ? fits : too_many) = middle;
  }
  return fits;
}

}  // namespace kronlab::decompositions
