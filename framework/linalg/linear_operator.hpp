#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "framework/linalg/gemm.hpp"
#include "framework/tensor/tensor.hpp"

namespace kronlab::linalg {

/// Whether an operator's result replaces what is in the output or is added to it.
enum class Write { replace, add };

/// A linear map W: [out, in], known by what it does. Rows of a batch are independent: y = x W^T.
///
/// The public functions check, the private virtual ones compute. Activations are f64, f32, or bf16 with a result in bf16
/// or f32; bf16 means products of bf16 values accumulated in float32. Application is const and may run on several
/// threads inside, never on several threads at once from outside.
class LinearOperator {
 public:
  virtual ~LinearOperator() = default;

  Index rows() const { return rows_; }  ///< out
  Index cols() const { return cols_; }  ///< in

  /// y = x W^T, or y += x W^T.  x: [n, in], y: [n, out]
  void apply(ConstTensorView x, TensorView y, Write write = Write::replace) const;
  /// x = y W, or x += y W.  y: [n, out], x: [n, in]
  void apply_adjoint(ConstTensorView y, TensorView x, Write write = Write::replace) const;
  /// out[i, :] = W[ids[i], :], for embeddings.  out: [ids.size(), in], f64, f32 or bf16
  void gather_rows(std::span<const std::int32_t> ids, TensorView out) const;
  /// Whether `apply_slice` is as cheap, for its share of the rows, as `apply`: then a vocabulary is walked in slices.
  virtual bool has_slices() const { return false; }
  /// y = x W[first_row : first_row + y.cols, :]^T.  x: [n, in]  @pre has_slices()
  void apply_slice(ConstTensorView x, Index first_row, TensorView y) const;
  /// All of W in float32, [out, in].
  Tensor to_dense() const { return do_to_dense(); }

  /// Numbers that are learned or stored to define the map, permutations (integers) not counted.
  virtual Index num_parameters() const = 0;

 protected:
  LinearOperator(Index rows, Index cols);

 private:
  virtual void do_apply(ConstTensorView x, TensorView y, Write write) const = 0;
  virtual void do_apply_adjoint(ConstTensorView y, TensorView x, Write write) const = 0;
  virtual void do_gather_rows(std::span<const std::int32_t> ids, TensorView out) const = 0;
  virtual void do_apply_slice(ConstTensorView x, Index first_row, TensorView y) const;
  virtual Tensor do_to_dense() const;

  Index rows_ = 0;
  Index cols_ = 0;
};

/// Numbers that learn, by their name within their owner. f32, or f64 where a model is trained in double.
struct Parameter {
  std::string name;
  Tensor* value = nullptr;
};

/// A linear operator that learns: it knows its numbers and the gradient of a loss L in them.
///
/// A model holds its operators const, so only who unfreezes an operator (and so owns a copy) can change it. Gradients
/// lie outside: gradients[i] has the rows and columns of parameters()[i], f32, or f64 where the activations are f64.
/// No gradients at all mean that the numbers are frozen.
class Trainable : public LinearOperator {
 public:
  /// All numbers that learn, in a fixed sequence. Call parameters_changed() after writing to them.
  virtual std::vector<Parameter> parameters() = 0;
  /// Drops what was derived from the parameters, such as copies in another type.
  virtual void parameters_changed() = 0;
  /// A copy with its own numbers.
  virtual std::shared_ptr<Trainable> clone() const = 0;

  /// For y = x W^T: gradients[i] += dL/dparameter i, and dx = dy W (or dx += dy W) unless dx is nothing.
  /// x: [n, in], dy: [n, out], both of one type; dx: [n, in] of that type, or f32 for bf16
  void backward(ConstTensorView x, ConstTensorView dy, std::span<const TensorView> gradients, std::optional<TensorView> dx,
                Write write = Write::replace) const;
  /// For out = gather_rows(ids): gradients[i] += dL/dparameter i.  dy: [ids.size(), in], f32 or f64
  void backward_gather(std::span<const std::int32_t> ids, ConstTensorView dy, std::span<const TensorView> gradients) const;

 protected:
  using LinearOperator::LinearOperator;

 private:
  // gradients is not empty
  virtual void do_backward(ConstTensorView x, ConstTensorView dy, std::span<const TensorView> gradients,
                           std::optional<TensorView> dx, Write write) const = 0;
  virtual void do_backward_gather(std::span<const std::int32_t> ids, ConstTensorView dy,
                                  std::span<const TensorView> gradients) const = 0;
};

/// Weights W: [out, in] kept as they are.
class DenseOperator final : public Trainable {
 public:
  /// weight: f32 or f64, [out, in]
  explicit DenseOperator(Tensor weight);
  /// A weight that `read` gives, [rows, cols], f32 or f64, when its numbers are first needed; it may throw.
  DenseOperator(Index rows, Index cols, std::function<Tensor()> read);

  Index num_parameters() const override { return rows() * cols(); }
  bool has_slices() const override { return true; }
  const Tensor& weight() const;
  std::vector<Parameter> parameters() override;
  void parameters_changed() override { converted_ = Tensor(); }
  std::shared_ptr<Trainable> clone() const override { return std::make_shared<DenseOperator>(weight().clone()); }
  /// The weight in another type, kept until it changes.
  ConstTensorView weight_as(DType dtype) const;

 private:
  void do_apply(ConstTensorView x, TensorView y, Write write) const override;
  void do_apply_adjoint(ConstTensorView y, TensorView x, Write write) const override;
  void do_gather_rows(std::span<const std::int32_t> ids, TensorView out) const override;
  void do_apply_slice(ConstTensorView x, Index first_row, TensorView y) const override;
  Tensor do_to_dense() const override;
  void do_backward(ConstTensorView x, ConstTensorView dy, std::span<const TensorView> gradients,
                   std::optional<TensorView> dx, Write write) const override;
  void do_backward_gather(std::span<const std::int32_t> ids, ConstTensorView dy,
                          std::span<const TensorView> gradients) const override;

  mutable Tensor weight_;                ///< empty until it is read
  std::function<Tensor()> read_;
  mutable Tensor converted_;  ///< the weight in the last other type it was asked for
};

}  // namespace kronlab::linalg
