#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "framework/linalg/linear_operator.hpp"

namespace kronlab::decompositions {

class Factorization;

/// How a factorization is stored: what it is, its numbers, its tensors and the factorizations inside it.
/// `make_factorization` in registry.hpp turns it back into a Factorization.
struct FactorizationParts {
  std::string kind;                           ///< "dense", "low-rank", "kronecker-sum", "permuted", ...
  std::map<std::string, Index> integers;      ///< shapes that the tensors do not tell
  std::map<std::string, Tensor> tensors;      ///< f32 factors; i32 permutations
  std::map<std::string, FactorizationParts> children;
};

/// A linear operator stored as factors. Factorizations compose: a leaf is one idea, a combinator wraps any of them.
class Factorization : public linalg::LinearOperator {
 public:
  /// Bytes of everything that must be stored: factors at their stored width, permutations, scales.
  virtual Index stored_bytes() const = 0;
  virtual FactorizationParts parts() const = 0;

  /// A factor that may itself be factorised (`wte.left`). @throws ConfigError if there is none of that name
  virtual Factorization& child(const std::string& name);
  virtual void replace_child(const std::string& name, std::unique_ptr<Factorization> child);

 protected:
  using LinearOperator::LinearOperator;
};

}  // namespace kronlab::decompositions
