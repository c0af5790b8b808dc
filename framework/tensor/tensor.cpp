#include "framework/tensor/tensor.hpp"

#include <algorithm>
#include <cstring>
#include <new>

namespace kronlab {

Index size_of(DType dtype) {
  switch (dtype) {
    case DType::f64: return 8;
    case DType::f32:
    case DType::i32: return 4;
    case DType::f16:
    case DType::bf16: return 2;
  }
  KRONLAB_EXPECTS(false, "unknown dtype {}", static_cast<int>(dtype));
}

std::string_view to_string(DType dtype) {
  switch (dtype) {
    case DType::f64: return "f64";
    case DType::f32: return "f32";
    case DType::i32: return "i32";
    case DType::f16: return "f16";
    case DType::bf16: return "bf16";
  }
  return "?";
}

namespace {

template <class View>
View block_of(View view, Index row, Index col, Index num_rows, Index num_cols) {
  KRONLAB_EXPECTS(row >= 0 && col >= 0 && num_rows >= 0 && num_cols >= 0 && row + num_rows <= view.rows &&
                      col + num_cols <= view.cols,
                  "block {}+{} x {}+{} is outside {} x {}", row, num_rows, col, num_cols, view.rows, view.cols);
  using Bytes = std::conditional_t<std::is_const_v<std::remove_pointer_t<decltype(view.data)>>, const std::byte, std::byte>;
  view.data = static_cast<Bytes*>(view.data) + (row * view.stride + col) * size_of(view.dtype);
  view.rows = num_rows;
  view.cols = num_cols;
  return view;
}

Index number_of_elements(const std::vector<Index>& shape) {
  Index size = 1;
  for (const Index extent : shape) {
    KRONLAB_EXPECTS(extent >= 0, "extent {} of a tensor is negative", extent);
    size = checked_product(size, extent, "tensor");
  }
  return size;
}

template <class From, class To>
void convert_rows(ConstMatrixView<From> from, MatrixView<To> to) {
#pragma omp parallel for schedule(static) if (from.rows * from.cols > 65536)
  for (Index i = 0; i < from.rows; ++i) {
    const From* source = &from.data[i * from.stride];
    To* target = &to.data[i * to.stride];
    for (Index j = 0; j < from.cols; ++j) {
      if constexpr (std::is_same_v<From, To>) {
        target[j] = source[j];
      } else if constexpr (std::is_floating_point_v<From> && std::is_floating_point_v<To>) {
        target[j] = static_cast<To>(source[j]);
      } else {
        target[j] = static_cast<To>(static_cast<float>(source[j]));
      }
    }
  }
}

template <class From>
void convert_from(ConstMatrixView<From> from, TensorView to) {
  switch (to.dtype) {
    case DType::f32: return convert_rows(from, to.as<float>());
    case DType::f64: return convert_rows(from, to.as<double>());
    case DType::f16: return convert_rows(from, to.as<float16>());
    case DType::bf16: return convert_rows(from, to.as<bfloat16>());
    case DType::i32: break;
  }
  KRONLAB_EXPECTS(false, "cannot convert to {}", to_string(to.dtype));
}

}  // namespace

ConstTensorView ConstTensorView::block(Index row, Index col, Index num_rows, Index num_cols) const {
  return block_of(*this, row, col, num_rows, num_cols);
}

TensorView TensorView::block(Index row, Index col, Index num_rows, Index num_cols) const {
  return block_of(*this, row, col, num_rows, num_cols);
}

Tensor Tensor::uninitialised(DType dtype, std::vector<Index> shape) {
  Tensor result;
  result.size_ = number_of_elements(shape);
  result.dtype_ = dtype;
  result.shape_ = std::move(shape);
  const auto bytes = static_cast<std::size_t>(checked_product(result.size_, size_of(dtype), "tensor"));
  result.data_.reset(static_cast<std::byte*>(::operator new[](std::max<std::size_t>(bytes, 1), std::align_val_t{64})));
  return result;
}

Tensor::Tensor(DType dtype, std::vector<Index> shape) : Tensor(uninitialised(dtype, std::move(shape))) {
  std::memset(data_.get(), 0, static_cast<std::size_t>(size_bytes()));
}

void Tensor::Free::operator()(std::byte* p) const { ::operator delete[](p, std::align_val_t{64}); }

void Tensor::expect_type(DType wanted) const {
  KRONLAB_EXPECTS(dtype_ == wanted, "tensor holds {}, expected {}", to_string(dtype_), to_string(wanted));
}

Index Tensor::rows() const { return cols() == 0 ? 0 : size_ / cols(); }

TensorView Tensor::view() {
  TensorView result;
  result.dtype = dtype_, result.data = data_.get(), result.rows = rows(), result.cols = cols(), result.stride = cols();
  return result;
}

ConstTensorView Tensor::view() const { return const_cast<Tensor*>(this)->view(); }

Tensor Tensor::clone() const {
  if (!data_) return {};
  Tensor result = uninitialised(dtype_, shape_);
  std::memcpy(result.data_.get(), data_.get(), static_cast<std::size_t>(size_bytes()));
  return result;
}

void convert(ConstTensorView from, TensorView to) {
  KRONLAB_EXPECTS(from.rows == to.rows && from.cols == to.cols, "cannot convert {} x {} into {} x {}", from.rows,
                  from.cols, to.rows, to.cols);
  switch (from.dtype) {
    case DType::f32: return convert_from(from.as<float>(), to);
    case DType::f64: return convert_from(from.as<double>(), to);
    case DType::f16: return convert_from(from.as<float16>(), to);
    case DType::bf16: return convert_from(from.as<bfloat16>(), to);
    case DType::i32: break;
  }
  KRONLAB_EXPECTS(false, "cannot convert from {}", to_string(from.dtype));
}

void fill_zero(TensorView to) {
  const Index element = size_of(to.dtype);
  for (Index i = 0; i < to.rows; ++i) {
    std::memset(static_cast<std::byte*>(to.data) + i * to.stride * element, 0, static_cast<std::size_t>(to.cols * element));
  }
}

}  // namespace kronlab
