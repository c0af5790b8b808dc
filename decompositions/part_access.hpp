#pragma once

#include <string>

#include "decompositions/factorization.hpp"

namespace kronlab::decompositions {

/// A tensor, part or integer of a factorization, moved out of it. @throws DataError if it is missing
Tensor take_tensor(FactorizationParts& parts, const std::string& name);
FactorizationParts take_child(FactorizationParts& parts, const std::string& name);
Index integer_of(const FactorizationParts& parts, const std::string& name);

}  // namespace kronlab::decompositions
