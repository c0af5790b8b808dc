#include "decompositions/mpo_rows.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "framework/kernels/tensor_axes.hpp"
#include "framework/linalg/gemm.hpp"

namespace kronlab::decompositions {
namespace {

using linalg::gemm;
using linalg::Transpose;

/// The wanted rows in rising sequence: those that share their leading indices stand together.
class Rows {
 public:
  Rows(std::span<const CoreShape> shapes, std::span<const std::int32_t> ids) : ids_(ids), order_(ids.size()), below_(shapes.size() + 1, 1) {
    for (std::size_t k = shapes.size(); k-- > 0;) below_[k] = below_[k + 1] * shapes[k].rows;
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    std::ranges::stable_sort(order_, {}, [&](std::size_t t) { return ids_[t]; });
  }

  std::span<const std::size_t> all() const { return order_; }

  /// body(index of core k, the rows with it) over some rows that agree in the indices before.
  template <class Body>
  void for_each_index(std::size_t k, std::span<const std::size_t> rows, Body body) const {
    for (std::size_t begin = 0; begin < rows.size();) {
      const Index index = index_of(k, rows[begin]);
      std::size_t end = begin + 1;
      while (end < rows.size() && index_of(k, rows[end]) == index) ++end;
      body(index, rows.subspan(begin, end - begin));
      begin = end;
    }
  }

 private:
  Index index_of(std::size_t k, std::size_t t) const { return ids_[t] % below_[k] / below_[k + 1]; }

  std::span<const std::int32_t> ids_;
  std::vector<std::size_t> order_;
  std::vector<Index> below_;  ///< rows of the operator for one leading choice of k indices
};

/// G_k[:, i, :, :]: [left, cols right]. Core or gradient: [left, rows cols right]
template <class View>
View slice(const CoreShape& s, View core, Index i) {
  return core.block(0, i * s.cols * s.right, s.left, s.cols * s.right);
}

/// The products of leading cores, [columns so far, bond], one for each depth, on a walk through the rows.
class Walk {
 public:
  Walk(std::span<const CoreShape> shapes, std::span<const ConstTensorView> cores) : shapes_(shapes), cores_(cores) {
    const DType type = cores[0].dtype;
    Index cols = 1;
    levels_.emplace_back(1, 1, type);
    for (const auto& s : shapes) levels_.emplace_back(cols *= s.cols, s.right, type);
    const TensorView first = levels_[0].view();
    type == DType::f64 ? first.as<double>()(0, 0) = 1.0 : first.as<float>()(0, 0) = 1.0f;
  }

  std::size_t num_cores() const { return shapes_.size(); }
  TensorView product(std::size_t k) const { return levels_[k].view(); }
  /// The product of k cores, times core k at this index.
  void go_on(std::size_t k, Index index) const {
    gemm(Transpose::no, product(k), Transpose::no, slice(shapes_[k], cores_[k], index), 0.0, unfolded(k + 1, product(k + 1)));
  }
  /// The product of k + 1 cores as [columns of the first k, columns of core k times bond].
  TensorView unfolded(std::size_t k, TensorView of) const {
    const auto& s = shapes_[k - 1];
    of.rows /= s.cols, of.cols = of.stride = s.cols * s.right;
    return of;
  }

 private:
  std::span<const CoreShape> shapes_;
  std::span<const ConstTensorView> cores_;
  std::vector<Scratch> levels_;
};

template <class View>
View as_row(View column) {
  std::swap(column.rows, column.cols);
  column.stride = column.cols;
  return column;
}

struct Gather {
  const Rows& rows;
  const Walk& walk;
  TensorView out;

  void below(std::size_t k, std::span<const std::size_t> some) const {
    if (k == walk.num_cores()) {
      for (const auto t : some) convert(as_row(walk.product(k)), out.block(static_cast<Index>(t), 0, 1, out.cols));
      return;
    }
    rows.for_each_index(k, some, [&](Index index, std::span<const std::size_t> with_it) {
      walk.go_on(k, index);
      below(k + 1, with_it);
    });
  }
};

struct GatherGradient {
  const Rows& rows;
  const Walk& walk;
  const Walk& d_walk;  ///< gradients in the products
  std::span<const CoreShape> shapes;
  std::span<const ConstTensorView> cores;
  ConstTensorView dy;
  std::span<const TensorView> gradients;

  /// The gradient in the product of k cores.
  void below(std::size_t k, std::span<const std::size_t> some) const {
    const TensorView d_product = d_walk.product(k);
    fill_zero(d_product);
    if (k == walk.num_cores()) {
      for (const auto t : some) kernels::swap_axes({1, 1, dy.cols}, dy.block(static_cast<Index>(t), 0, 1, dy.cols), as_row(d_product), true);
      return;
    }
    rows.for_each_index(k, some, [&](Index index, std::span<const std::size_t> with_it) {
      walk.go_on(k, index);
      below(k + 1, with_it);
      const ConstTensorView d_next = d_walk.unfolded(k + 1, d_walk.product(k + 1));
      gemm(Transpose::yes, walk.product(k), Transpose::no, d_next, 1.0, slice(shapes[k], gradients[k], index));
      gemm(Transpose::no, d_next, Transpose::yes, slice(shapes[k], cores[k], index), 1.0, d_product);
    });
  }
};

}  // namespace

void gather_mpo_rows(std::span<const CoreShape> shapes, std::span<const ConstTensorView> cores, std::span<const std::int32_t> ids,
                     TensorView out) {
  if (ids.empty()) return;
  const Rows rows(shapes, ids);
  const Walk walk(shapes, cores);
  Gather{rows, walk, out}.below(0, rows.all());
}

void add_mpo_row_gradients(std::span<const CoreShape> shapes, std::span<const ConstTensorView> cores, std::span<const std::int32_t> ids,
                           ConstTensorView dy, std::span<const TensorView> gradients) {
  std::vector<TensorView> unfolded(gradients.begin(), gradients.end());
  for (std::size_t k = 0; k < shapes.size(); ++k)
    unfolded[k].rows = shapes[k].left, unfolded[k].cols = unfolded[k].stride = shapes[k].size() / shapes[k].left;
  const Rows rows(shapes, ids);
  const Walk walk(shapes, cores), d_walk(shapes, cores);
  GatherGradient{rows, walk, d_walk, shapes, cores, dy, unfolded}.below(0, rows.all());
}

}  // namespace kronlab::decompositions
