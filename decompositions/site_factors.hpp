#pragma once

#include <optional>
#include <vector>

#include "framework/base/error.hpp"
#include "framework/tensor/dtype.hpp"

namespace kronlab::decompositions {

/// An extent as a product of `num_sites` factors of at least 2, ascending, as equal as they can be: the least sum. Nothing
/// where there is none, or where the largest is more than `spread` times what equal factors would be (a large prime).
std::optional<std::vector<Index>> balanced_factors(Index extent, Index num_sites, double spread = 4.0);

/// The extents next to one that cannot be factored, that can. below: 0 where there is none
struct NearestExtents {
  Index below = 0;
  Index above = 0;
};
NearestExtents nearest_factorable(Index extent, Index num_sites);
/// The factors of the least extent, from this one on, that has some with that spread.
std::vector<Index> padded_factors(Index extent, Index num_sites, double spread);

/// "2 x 3 x 4"
std::string product_text(const std::vector<Index>& factors);

}  // namespace kronlab::decompositions
