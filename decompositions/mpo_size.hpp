#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "decompositions/decomposer.hpp"
#include "decompositions/mpo_contraction.hpp"
#include "decompositions/tt_svd.hpp"

namespace kronlab::decompositions {

/// Factors of rows and columns, one of each for a site.
struct SiteFactors {
  std::vector<Index> rows, cols;
  std::vector<Index> extents() const;  ///< rows times columns of each site
};

/// What makes the factors of rows and columns: those that are given, one for each site, else automatic ones, which are as
/// equal as they can be, those of the rows rising and those of the columns falling, so that sites are about equally large.
class SiteRule {
 public:
  /// Empty factors are automatic. num_sites: of those, 3 where nothing says otherwise. kind: of the decomposition, static
  /// @throws ConfigError for lists of different lengths, fewer than two sites, factors below 1
  SiteRule(std::vector<Index> row_factors, std::vector<Index> col_factors, std::optional<Index> num_sites, std::string_view kind);

  /// Whether factors must make the rows, or may make more.
  enum class Rows { exact, padded };
  /// @throws ConfigError for an extent that the given factors do not make, or that has no automatic ones, with the nearest
  /// that have
  SiteFactors of(const std::string& layer, Index rows, Index cols, Rows how = Rows::exact) const;
  /// Those of the columns alone.
  std::vector<Index> cols_of(const std::string& layer, Index cols) const;

 private:
  std::vector<Index> rows_of(const std::string& layer, Index rows, Rows how) const;
  std::vector<Index> exact(const std::vector<Index>& given, Index extent, const std::string& what) const;

  std::vector<Index> row_factors_, col_factors_;
  Index num_sites_;
  std::string_view kind_;
};

/// Cores with these factors and at most this bond dimension.
std::vector<CoreShape> core_shapes(const SiteFactors& sites, Index bond_dimension);
Index num_parameters(const std::vector<CoreShape>& shapes);

/// How large the bonds may be: by one of the first two, or as a relative error asks, which one of them may bound.
struct BondSize {
  std::optional<Index> bond_dimension = {};
  std::optional<double> keep = {};  ///< share of `parameters` that cores and what stands beside them may have
  std::optional<double> truncation_error = {};  ///< of all bonds together: BondRule
  /// @throws ConfigError unless that is what is given, and possible
  void expect_valid(std::string_view kind) const;
  /// Of cores that have `parameters`, in f32.
  Size of(Index parameters) const { return {parameters, 4 * parameters, truncation_error.has_value()}; }
  BondRule rule(Index most) const { return {most, truncation_error.value_or(0.0)}; }
};
/// The bond dimension, or the largest that may be, for sites that replace so many parameters. beside: parameters besides the cores. layer: its name
/// and shape. @throws ConfigError if no bond can have it, or even a bond dimension of 1 is too large
Index bond_dimension_of(const BondSize& size, const SiteFactors& sites, Index parameters, Index beside, std::string_view kind,
                        const std::string& layer);

}  // namespace kronlab::decompositions
