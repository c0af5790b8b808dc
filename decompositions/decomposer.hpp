#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "decompositions/factorization.hpp"
#include "decompositions/quantisation_grid.hpp"
#include "framework/comm/communicator.hpp"
#include "framework/linalg/svd.hpp"

namespace kronlab::decompositions {

/// What is known of a layer's data; plain weights when nothing is known.
struct LayerStatistics {
  Matrix<double> input_moments;     ///< C = X^T X / tokens: [in, in]; empty if not gathered
  Matrix<double> gradient_moments;  ///< S of the loss gradient in the outputs: [out, out], or its diagonal [1, out];
                                    ///< empty if not gathered
  Matrix<double> reference_moments;  ///< X'^T X / tokens, X' the inputs before anything was compressed: [in, in]; empty if
                                     ///< the inputs are those, or were not gathered
  Index num_tokens = 0;
};

/// What a method needs of LayerStatistics::gradient_moments.
enum class GradientMoments { none, diagonal, full };

/// What counts as an error dW: |dW|_F^2, tr(dW C dW^T), which is the error of the layer's output, or tr(S dW C dW^T),
/// the second-order change of the loss if gradients and inputs are independent (K-FAC: Martens and Grosse, 1503.05671).
enum class Weighting { none, inputs, two_sided };

/// How an iteration ended: a value, not an exception.
struct Convergence {
  enum class Reason { exact, converged, max_iterations, time_limit };
  Reason reason = Reason::exact;
  Index num_iterations = 0;
  double residual = 0.0;  ///< relative; 0 for direct methods
};
std::string_view to_string(Convergence::Reason reason);
/// `converged` with iterations and residual where an iterative solver found the triples, else `exact`.
Convergence convergence_of(const linalg::Svd& svd);

/// A weight decomposed, and how good it is.
struct Decomposition {
  std::unique_ptr<Factorization> factorization;
  double relative_error = 0.0;            ///< |W - W^|_F / |W|_F; 0 for a zero weight
  std::optional<double> weighted_error;   ///< sqrt(tr(dW C dW^T) / tr(W C W^T)); none without input moments
  std::optional<double> two_sided_error;  ///< sqrt(tr(S dW C dW^T) / tr(S W C W^T)); none without both moments
  Convergence convergence;
  std::vector<double>
      spectrum;  ///< singular values of what was truncated, descending: all, or the kept ones if only those were found
  std::vector<double> discarded_weights;  ///< of every truncation of a tensor network: its share of the squared norm; else
                                          ///< empty, and `spectrum` is that of the truncation with the largest
};

/// Errors of an approximation as in Decomposition, in every norm whose moments are known.
struct RelativeErrors {
  double plain = 0.0;
  std::optional<double> weighted, two_sided;
};
/// difference: W - W^, both [out, in]; statistics as `Decomposer::decompose` takes them
RelativeErrors relative_errors(const Matrix<double>& weight, const Matrix<double>& difference, const LayerStatistics& statistics);

/// Parameters and bytes of a factorization.
struct Size {
  Index num_parameters = 0;
  Index stored_bytes = 0;
  bool is_bound = false;  ///< it takes at most that: how much depends on the weight
};

/// What a permutation may improve: rows and columns of W: [m1 m2, n1 n2] are grouped so that the rearranged weight R(W)
/// has much energy in few directions; or columns so that few entries of a row hold much of what a group has, or that
/// the rows of a group need small ranges.
struct GroupingProblem {
  Index right_rows = 1;  ///< m2: rows in a group
  Index right_cols = 1;  ///< n2: columns in a group
  Index num_terms = 1;
  Index num_kept = 0;  ///< entries of each group of a row that stay when the others are pruned; 0: a sum of Kronecker products
  std::optional<QuantisationGrid> grid = {};  ///< to which each group of a row is rounded; none: it is not
  bool operator==(const GroupingProblem&) const = default;
};

/// Extents of a factor.
struct FactorShape {
  Index rows = 0;
  Index cols = 0;
};

/// Turns a weight W: [out, in] (f32 or f64) into a factorization. One object serves all layers; local to the rank.
class Decomposer {
 public:
  virtual ~Decomposer() = default;

  /// @throws ConfigError naming `layer` if the shape does not suit (does not divide, too many terms), DataError on NaN
  /// or infinite weights or moments, moments of another shape, or if required moments are missing
  Decomposition decompose(const std::string& layer, ConstTensorView weight, const LayerStatistics& statistics) const;

  /// The same for a weight whose rows are spread over ranks: rank r passes the rows comm::block_range(rows, r, size),
  /// [size of that range, cols], and every rank gets the same result. Statistics are the same on every rank.
  /// Collective.
  ///
  /// Equal to the local form up to rounding: |W^ - W^'|_F about (eps32 + n eps64 s_1^2 / (s_k^2 - s_(k+1)^2)) |W^|_F.
  /// Bits may depend on the number of ranks, and signs of factors with them.
  /// @throws ConfigError if the kind has no distributed form or as above, both on all ranks; CollectiveError for what
  /// is wrong with one rank's rows
  Decomposition decompose(const comm::Communicator& communicator, const std::string& layer, ConstTensorView own_rows,
                          Index rows, Index cols, const LayerStatistics& statistics) const;

  virtual std::string_view kind() const = 0;
  /// Whether LayerStatistics::input_moments are required.
  virtual bool needs_input_moments() const { return false; }
  /// What of LayerStatistics::gradient_moments is required; who needs the diagonal takes all of S too.
  virtual GradientMoments needed_gradient_moments() const { return GradientMoments::none; }
  /// What a weight of this shape will take, without any weight. @throws ConfigError as `decompose`
  virtual Size size_of(const std::string& layer, Index rows, Index cols) const = 0;
  /// Factors of such a weight that a later stage may decompose again, by name (`wte.left`): children of
  /// FactorizationParts that are dense. @throws ConfigError as `decompose`
  virtual std::map<std::string, FactorShape> factor_shapes(const std::string& layer, Index rows, Index cols) const;
  /// The f32 factors of two extents or more that such a weight is stored as, each seen as a matrix (Tensor::rows() x cols());
  /// the rest of size_of's bytes are vectors and permutations. Empty: there are none.  @throws ConfigError as `decompose`
  virtual std::vector<FactorShape> stored_factors(const std::string& layer, Index rows, Index cols) const;
  /// How a permutation search should group such a weight; none where the method gains nothing from permutations.
  /// @throws ConfigError as `decompose`
  virtual std::optional<GroupingProblem> grouping_problem(const std::string& layer, Index rows, Index cols) const;
  /// Multiply-adds of the factorization for a row of a batch; none where there is one for each parameter, as where two
  /// factors are applied one after the other. @throws ConfigError as `decompose`
  virtual std::optional<double> multiply_adds(const std::string& layer, Index rows, Index cols) const;
  /// Multiply-adds of one decomposition, roughly: for partitioning.
  virtual double cost(Index rows, Index cols) const = 0;

 private:
  void expect_moments(const std::string& layer, Index rows, Index cols, const LayerStatistics& statistics) const;
  /// Fills factorization, spectrum and convergence.
  virtual Decomposition do_decompose(const std::string& layer, ConstTensorView weight,
                                     const LayerStatistics& statistics) const = 0;
  /// The same on every rank. Collective. Throws ConfigError unless a kind has a distributed form.
  virtual Decomposition do_decompose_distributed(const comm::Communicator& communicator, const std::string& layer,
                                                 ConstMatrixView<double> own_rows, Index rows, Index cols,
                                                 const LayerStatistics& statistics) const;
};

/// Sum of Kronecker products, nearest in the Frobenius norm: Σ_k A_k ⊗ B_k.
///
///   W: [m1*m2, n1*n2]    A_k: [m1, n1]    B_k: [m2, n2]
///
/// The blocks of W become the rows of R(W): [m1*n1, m2*n2]; A_k and B_k are its leading singular vectors times the root
/// of the singular value, reshaped; the entry of B_k that is largest in size is positive.
///
/// Weighted by inputs, W with its columns times sqrt(C_jj) is what is approximated; two-sided, its rows times sqrt(S_ii)
/// too; the result is Scaled, back to W. A refit goes on from there by alternating least squares in the norm of all of C
/// (kronecker_refit.hpp).
///
/// Van Loan and Pitsianis, Approximation with Kronecker products, 1993.
///
/// The pruning start instead, of one term: A is the first element of each block, B is 1 and 0.1 everywhere else. What is
/// kept of the weight is kept as it is, and the rest is near nothing, to be trained (Krony-PT, arXiv:2412.12351).
struct KroneckerOptions {
  Index left_rows = 0;   ///< m1; must divide the rows of the weight
  Index left_cols = 0;   ///< n1; must divide the columns of the weight
  Index num_terms = 1;   ///< length of the sum
  Index right_rows = 0;  ///< m2, in place of m1: one shape for layers of different extents; or besides it, where m1 m2 must be the rows
  Index right_cols = 0;  ///< n2, of n1 likewise
  Weighting weighting = Weighting::none;
  Index refit = 0;                ///< rounds of alternating least squares; with all of S, as many again in its norm
  double damping = 1e-3;          ///< of C, in parts of its mean diagonal, where moments are used
  double gradient_damping = 0.1;  ///< of S, where two-sided
  GradientMoments gradient_moments = GradientMoments::diagonal;  ///< or all of S, in a two-sided refit
  enum class Start { van_loan, pruning } start = Start::van_loan;
  bool keeps_norm = false;  ///< the sum scaled to |W^|_F = |W|_F at the end: Krony-PT's adaptive normalisation (arXiv:2412.12351)
};
std::unique_ptr<Decomposer> make_kronecker_decomposer(const KroneckerOptions& options);

/// Truncated singular value decomposition U V.
struct SvdOptions {
  std::optional<Index> truncation;  ///< singular triples that stay
  std::optional<double>
      keep;  ///< or the share of the weight's parameters that stays: truncation = floor(keep m n / (m + n))
};
std::unique_ptr<Decomposer> make_svd_decomposer(const SvdOptions& options);

/// SVD of W L, times L^-1, with L L^T = C + damping mean(diag C) I: the nearest matrix of that rank in the norm
/// tr(dW C dW^T) (SVD-LLM: Wang et al., 2403.07378). Two-sided: SVD of K^T W L, with K^-T on the left too and
/// K K^T = S + gradient_damping mean(diag S) I: the nearest in the norm tr(S dW C dW^T).
struct WhitenedSvdOptions {
  SvdOptions size;
  double damping = 1e-3;
  Weighting weighting = Weighting::inputs;                   ///< or two_sided
  double gradient_damping = 0.1;                             ///< of S, where two-sided
  GradientMoments gradient_moments = GradientMoments::full;  ///< or only the diagonal of S
};
std::unique_ptr<Decomposer> make_whitened_svd_decomposer(const WhitenedSvdOptions& options);

/// R(W): [m1 n1, m2 n2], row (i, j) is block (i, j) of W; and the inverse of one column: v -> [m, n].
Matrix<double> rearrange(ConstTensorView weight, Index left_rows, Index left_cols);

}  // namespace kronlab::decompositions
