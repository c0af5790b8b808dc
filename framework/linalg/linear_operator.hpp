#pragma once

#include <cstdint>
#include <span>

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
  Tensor to_dense() const;

  /// Numbers that are learned or stored to define the map, permutations (integers) not counted.
  virtual Index num_parameters() const = 0;

 protected:
  LinearOperator(Index rows, Index cols);

 private:
  virtual void do_apply(ConstTensorView x, TensorView y, Write write) const = 0;
  virtual void do_apply_adjoint(ConstTensorView y, TensorView x, Write write) const = 0;
  virtual void do_gather_rows(std::span<const std::int32_t> ids, TensorView out) const = 0;
  virtual void do_apply_slice(ConstTensorView x, Index first_row, TensorView y) const;

  Index rows_ = 0;
  Index cols_ = 0;
};

/// Float32 weights W: [out, in] kept as they are.
class DenseOperator final : public LinearOperator {
 public:
  /// weight: f32, [out, in]
  explicit DenseOperator(Tensor weight);

  Index num_parameters() const override { return weight_.size(); }
  bool has_slices() const override { return true; }
  const Tensor& weight() const { return weight_; }

 private:
  void do_apply(ConstTensorView x, TensorView y, Write write) const override;
  void do_apply_adjoint(ConstTensorView y, TensorView x, Write write) const override;
  void do_gather_rows(std::span<const std::int32_t> ids, TensorView out) const override;
  void do_apply_slice(ConstTensorView x, Index first_row, TensorView y) const override;
  ConstTensorView weight_as(DType dtype) const;

  Tensor weight_;
  mutable Tensor converted_;  ///< the weight in the last other type it was asked for (bf16 or f64)
};

}  // namespace kronlab::linalg
