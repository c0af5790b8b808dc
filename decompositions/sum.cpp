#include "decompositions/sum.hpp"

#include <numeric>
#include <utility>

#include "framework/kernels/elementwise.hpp"
#include "framework/tensor/scratch.hpp"

namespace kronlab::decompositions {
namespace {

using linalg::Write;

const Factorization& first_of(const std::vector<std::unique_ptr<Factorization>>& terms) {
  if (terms.empty()) throw DataError("a sum of no factorizations");
  return *terms.front();
}

/// How term p is written, where the first is written as asked.
Write write_of(std::size_t p, Write write) { return p == 0 ? write : Write::add; }

}  // namespace

Sum::Sum(std::vector<std::unique_ptr<Factorization>> terms)
    : Factorization(first_of(terms).rows(), first_of(terms).cols()), terms_(std::move(terms)) {
  for (std::size_t p = 0; p < terms_.size(); ++p) {
    if (terms_[p]->rows() != rows() || terms_[p]->cols() != cols()) {
      throw DataError(fmt::format("sum: {} is {} x {}, expected {} x {}", term_name(p), terms_[p]->rows(), terms_[p]->cols(), rows(), cols()));
    }
    num_gradients_.push_back(terms_[p]->parameters().size());
  }
}

Index Sum::num_parameters() const {
  Index sum = 0;
  for (const auto& term : terms_) sum += term->num_parameters();
  return sum;
}

Index Sum::stored_bytes() const {
  Index sum = 0;
  for (const auto& term : terms_) sum += term->stored_bytes();
  return sum;
}

FactorizationParts Sum::parts() const {
  FactorizationParts parts{"sum", {}, {}, {}};
  for (std::size_t p = 0; p < terms_.size(); ++p) parts.children[term_name(p)] = terms_[p]->parts();
  return parts;
}

std::unique_ptr<Factorization> Sum::copy() const {
  std::vector<std::unique_ptr<Factorization>> terms;
  for (const auto& term : terms_) terms.push_back(term->copy());
  return std::make_unique<Sum>(std::move(terms));
}

std::vector<linalg::Parameter> Sum::parameters() {
  std::vector<linalg::Parameter> all;
  for (std::size_t p = 0; p < terms_.size(); ++p) append_parameters(term_name(p), *terms_[p], all);
  return all;
}

void Sum::parameters_changed() {
  for (const auto& term : terms_) term->parameters_changed();
}

void Sum::do_apply(ConstTensorView x, TensorView y, Write write) const {
  for (std::size_t p = 0; p < terms_.size(); ++p) terms_[p]->apply(x, y, write_of(p, write));
}

void Sum::do_apply_adjoint(ConstTensorView y, TensorView x, Write write) const {
  for (std::size_t p = 0; p < terms_.size(); ++p) terms_[p]->apply_adjoint(y, x, write_of(p, write));
}

void Sum::do_gather_rows(std::span<const std::int32_t> ids, TensorView out) const {
  terms_.front()->gather_rows(ids, out);
  const Scratch term(out.rows, out.cols, out.dtype);
  for (std::size_t p = 1; p < terms_.size(); ++p) {
    terms_[p]->gather_rows(ids, term.view());
    kernels::add(term.view(), out);
  }
}

std::vector<std::span<const TensorView>> Sum::split(std::span<const TensorView> gradients) const {
  const auto expected = std::accumulate(num_gradients_.begin(), num_gradients_.end(), std::size_t{0});
  KRONLAB_EXPECTS(gradients.size() == expected, "{} gradients of a sum with {} parameters", gradients.size(), expected);
  std::vector<std::span<const TensorView>> shares;
  for (const auto count : num_gradients_) {
    shares.push_back(gradients.first(count));
    gradients = gradients.subspan(count);
  }
  return shares;
}

void Sum::do_backward(ConstTensorView x, ConstTensorView dy, std::span<const TensorView> gradients,
                      std::optional<TensorView> dx, Write write) const {
  const auto shares = split(gradients);
  for (std::size_t p = 0; p < terms_.size(); ++p) terms_[p]->backward(x, dy, shares[p], dx, write_of(p, write));
}

void Sum::do_backward_gather(std::span<const std::int32_t> ids, ConstTensorView dy,
                             std::span<const TensorView> gradients) const {
  const auto shares = split(gradients);
  for (std::size_t p = 0; p < terms_.size(); ++p) terms_[p]->backward_gather(ids, dy, shares[p]);
}

}  // namespace kronlab::decompositions
