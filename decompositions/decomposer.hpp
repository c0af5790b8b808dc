#pragma once

#include <memory>
#include <optional>
#include <string>

#include "decompositions/factorization.hpp"
#include "framework/base/random.hpp"
#include "framework/comm/communicator.hpp"

namespace kronlab::decompositions {

/// What is known of a layer's data; plain weights when nothing is known.
struct LayerStatistics {
  Matrix<double> input_moments;      ///< C = X^T X / tokens: [in, in]; empty if not gathered
  Matrix<double> gradient_moments;   ///< S = second moments of the loss gradient in the outputs: [out, out] or [1, out] (its diagonal); empty if not gathered
  Index num_tokens = 0;
};

/// How an iteration ended: a value, not an exception.
struct Convergence {
  enum class Reason { exact, converged, max_iterations, time_limit, breakdown };
  Reason reason = Reason::exact;
  Index num_iterations = 0;
  double residual = 0.0;  ///< relative; 0 for direct methods
};
std::string to_string(Convergence::Reason reason);

/// A weight decomposed, and how good it is.
struct Decomposition {
  std::unique_ptr<Factorization> factorization;
  double relative_error = 0.0;                   ///< |W - W^|_F / |W|_F
  std::optional<double> weighted_error;          ///< sqrt(tr(dW C dW^T) / tr(W C W^T)); none without input moments
  Convergence convergence;
  std::vector<double> spectrum;                  ///< singular values of what was truncated, descending; may be empty
};

/// |W - W^|_F / |W|_F and its weighted form, in double; 0 for a zero weight approximated by zero.
double relative_error(ConstTensorView weight, const Factorization& factorization);
std::optional<double> weighted_error(ConstTensorView weight, const Factorization& factorization, const LayerStatistics& statistics);

/// Turns a weight W: [out, in] (f32) into a factorization. One object serves all layers.
class Decomposer {
 public:
  virtual ~Decomposer() = default;

  /// Local to the rank. @throws ConfigError naming `layer` if the shape does not suit (does not divide, too many terms),
  /// DataError on NaN or infinite weights
  Decomposition decompose(const std::string& layer, ConstTensorView weight, const LayerStatistics& statistics, RandomStream random) const;
  /// The same for a matrix that all ranks work on together (ScaLAPACK). Collective; the result, on every rank, is
  /// the same up to rounding for any number of ranks. Weight on every rank in this version.
  Decomposition decompose(const comm::Communicator& communicator, const std::string& layer, ConstTensorView weight,
                          const LayerStatistics& statistics, RandomStream random) const;

  virtual std::string kind() const = 0;
  /// Whether LayerStatistics::input_moments are required.
  virtual bool needs_input_moments() const { return false; }
  /// Parameters and bytes that a weight of this shape will have, without any weight. @throws ConfigError as `decompose`
  struct Size {
    Index num_parameters = 0;
    Index stored_bytes = 0;
  };
  virtual Size size_of(const std::string& layer, Index rows, Index cols) const = 0;
  /// Floating-point operations of one decomposition, roughly: for partitioning and time estimates.
  virtual double cost(Index rows, Index cols) const = 0;

 private:
  virtual Decomposition do_decompose(const std::string& layer, ConstTensorView weight, const LayerStatistics& statistics,
                                     RandomStream random) const = 0;
  /// Default: decompose on every rank alike (local).
  virtual Decomposition do_decompose_distributed(const comm::Communicator& communicator, const std::string& layer,
                                                 ConstTensorView weight, const LayerStatistics& statistics,
                                                 RandomStream random) const;
};

}  // namespace kronlab::decompositions
