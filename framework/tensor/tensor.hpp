#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "framework/tensor/dtype.hpp"

namespace kronlab {

/// Rows and columns of elements of one type in row-major storage, `stride` elements from row to row. Not owned.
template <class T>
struct MatrixView {
  T* data = nullptr;
  Index rows = 0;
  Index cols = 0;
  Index stride = 0;

  MatrixView() = default;
  MatrixView(T* data_, Index rows_, Index cols_) : MatrixView(data_, rows_, cols_, cols_) {}
  MatrixView(T* data_, Index rows_, Index cols_, Index stride_)
      : data(data_), rows(rows_), cols(cols_), stride(stride_) {}
  template <class U>
    requires std::is_same_v<const U, T>
  MatrixView(MatrixView<U> other) : MatrixView(other.data, other.rows, other.cols, other.stride) {}

  T& operator()(Index i, Index j) const { return data[i * stride + j]; }
  std::span<T> row(Index i) const { return {data + i * stride, static_cast<std::size_t>(cols)}; }
  MatrixView block(Index row, Index col, Index num_rows, Index num_cols) const {
    return {data + row * stride + col, num_rows, num_cols, stride};
  }
};
template <class T>
using ConstMatrixView = MatrixView<const T>;

/// A matrix whose element type is known at run time: what layers of a model hand to each other. Not owned.
struct ConstTensorView {
  DType dtype = DType::f32;
  const void* data = nullptr;
  Index rows = 0;
  Index cols = 0;
  Index stride = 0;

  ConstTensorView() = default;
  template <class T>
  ConstTensorView(MatrixView<T> m)
      : dtype(dtype_of<std::remove_const_t<T>>::value), data(m.data), rows(m.rows), cols(m.cols), stride(m.stride) {}

  /// Typed view. @throws ContractError if the elements are of another type.
  template <class T>
  ConstMatrixView<T> as() const {
    KRONLAB_EXPECTS(dtype == dtype_of<T>::value, "tensor holds {}, expected {}", to_string(dtype),
                    to_string(dtype_of<T>::value));
    return {static_cast<const T*>(data), rows, cols, stride};
  }
  ConstTensorView block(Index row, Index col, Index num_rows, Index num_cols) const;
};

/// The writable form of ConstTensorView.
struct TensorView {
  DType dtype = DType::f32;
  void* data = nullptr;
  Index rows = 0;
  Index cols = 0;
  Index stride = 0;

  TensorView() = default;
  template <class T>
    requires(!std::is_const_v<T>)
  TensorView(MatrixView<T> m) : dtype(dtype_of<T>::value), data(m.data), rows(m.rows), cols(m.cols), stride(m.stride) {}

  template <class T>
  MatrixView<T> as() const {
    KRONLAB_EXPECTS(dtype == dtype_of<T>::value, "tensor holds {}, expected {}", to_string(dtype),
                    to_string(dtype_of<T>::value));
    return {static_cast<T*>(data), rows, cols, stride};
  }
  operator ConstTensorView() const {
    ConstTensorView view;
    view.dtype = dtype, view.data = data, view.rows = rows, view.cols = cols, view.stride = stride;
    return view;
  }
  TensorView block(Index row, Index col, Index num_rows, Index num_cols) const;
};

/// An owned array of any shape, contiguous, row-major, aligned to 64 bytes. Move-only; copy with `clone()`.
class Tensor {
 public:
  Tensor() = default;
  /// Zeroed. @throws ContractError on a negative extent; std::bad_alloc
  Tensor(DType dtype, std::vector<Index> shape);
  /// Memory as it comes, for buffers that are written before they are read.
  static Tensor uninitialised(DType dtype, std::vector<Index> shape);

  DType dtype() const { return dtype_; }
  const std::vector<Index>& shape() const { return shape_; }
  Index size() const { return size_; }
  Index size_bytes() const { return size_ * size_of(dtype_); }
  bool is_empty() const { return size_ == 0; }
  /// Rows of the array seen as a matrix: all extents but the last multiplied; a vector is one row.
  Index rows() const;
  Index cols() const { return shape_.empty() ? 1 : shape_.back(); }

  template <class T>
  std::span<T> values() {
    expect_type(dtype_of<T>::value);
    return {reinterpret_cast<T*>(data_.get()), static_cast<std::size_t>(size_)};
  }
  template <class T>
  std::span<const T> values() const {
    expect_type(dtype_of<T>::value);
    return {reinterpret_cast<const T*>(data_.get()), static_cast<std::size_t>(size_)};
  }
  template <class T>
  MatrixView<T> matrix() {
    return {values<T>().data(), rows(), cols()};
  }
  template <class T>
  ConstMatrixView<T> matrix() const {
    return {values<T>().data(), rows(), cols()};
  }
  TensorView view();
  ConstTensorView view() const;
  Tensor clone() const;

 private:
  struct Free {
    void operator()(std::byte* p) const;
  };
  void expect_type(DType wanted) const;

  DType dtype_ = DType::f32;
  std::vector<Index> shape_;
  Index size_ = 0;
  std::unique_ptr<std::byte[], Free> data_;
};

/// Copies with conversion between f32, f64, f16 and bf16 (f64 to f16 or bf16 is rounded to f32 first).
/// @pre equal rows and columns
void convert(ConstTensorView from, TensorView to);

/// Every element becomes 0; what lies between the rows stays.
void fill_zero(TensorView to);

/// A zeroed row-major matrix of floats or doubles, and its copy-friendly owner inside algorithms.
template <class T>
class Matrix {
 public:
  Matrix() = default;
  Matrix(Index rows, Index cols)
      : rows_(rows), cols_(cols), values_(static_cast<std::size_t>(checked_product(rows, cols, "matrix"))) {}

  Index rows() const { return rows_; }
  Index cols() const { return cols_; }
  Index size() const { return rows_ * cols_; }
  T* data() { return values_.data(); }
  const T* data() const { return values_.data(); }
  T& operator()(Index i, Index j) { return values_[static_cast<std::size_t>(i * cols_ + j)]; }
  const T& operator()(Index i, Index j) const { return values_[static_cast<std::size_t>(i * cols_ + j)]; }
  std::span<T> row(Index i) { return {data() + i * cols_, static_cast<std::size_t>(cols_)}; }
  std::span<const T> row(Index i) const { return {data() + i * cols_, static_cast<std::size_t>(cols_)}; }
  MatrixView<T> view() { return {data(), rows_, cols_}; }
  ConstMatrixView<T> view() const { return {data(), rows_, cols_}; }
  operator MatrixView<T>() { return view(); }
  operator ConstMatrixView<T>() const { return view(); }

 private:
  Index rows_ = 0;
  Index cols_ = 0;
  std::vector<T> values_;
};

/// A copy of any floating-point view as `T`.
template <class T>
Matrix<T> to_matrix(ConstTensorView from) {
  Matrix<T> result(from.rows, from.cols);
  convert(from, result.view());
  return result;
}

}  // namespace kronlab
