#include "framework/kernels/row_trains.hpp"

#include <algorithm>
#include <numeric>

#include "framework/kernels/dispatch.hpp"

namespace kronlab::kernels {
namespace {

void expect_shapes(const RowTrainShape& shape, std::span<const ConstTensorView> cores, std::span<const std::int32_t> ids, Index rows, Index cols) {
  KRONLAB_EXPECTS(shape.bonds.size() == shape.extents.size() + 1 && shape.bonds.front() == 1 && shape.bonds.back() == 1 &&
                      cores.size() == shape.extents.size(),
                  "trains of {} extents with {} bonds and {} cores", shape.extents.size(), shape.bonds.size(), cores.size());
  KRONLAB_EXPECTS(rows == static_cast<Index>(ids.size()) && cols == shape.cols(), "{} rows of trains of {} as [{}, {}]", ids.size(), shape.cols(), rows, cols);
  for (std::size_t k = 0; k < cores.size(); ++k) {
    KRONLAB_EXPECTS(cores[k].cols == shape.core_size(k) && cores[k].rows == cores[0].rows, "cores {} are [{}, {}], expected [{}, {}]", k,
                    cores[k].rows, cores[k].cols, cores[0].rows, shape.core_size(k));
  }
  for (const auto id : ids) KRONLAB_EXPECTS(id >= 0 && id < cores[0].rows, "row {} of {} trains", id, cores[0].rows);
}

/// The products of the first k cores of one row, for each k: [d_0 ... d_(k-1), r_k].
template <class Real>
class Products {
 public:
  explicit Products(const RowTrainShape& shape) : shape_(shape), levels_(shape.bonds.size()) {
    Index rows = 1;
    for (std::size_t k = 0; k < levels_.size(); ++k) {
      levels_[k].resize(static_cast<std::size_t>(rows * shape.bonds[k]));
      rows *= k < shape.extents.size() ? shape.extents[k] : 1;
    }
    levels_[0][0] = 1;
  }

  /// [rows, r_k]
  Real* level(std::size_t k) { return levels_[k].data(); }
  Index rows(std::size_t k) const { return static_cast<Index>(levels_[k].size()) / shape_.bonds[k]; }
  std::vector<Real>& last() { return levels_.back(); }

  /// Level k + 1 = level k [rows, r] times a core as [r, d r'].
  template <class T>
  void go_on(std::size_t k, const T* core) {
    const Index bond = shape_.bonds[k], wide = shape_.extents[k] * shape_.bonds[k + 1];
    for (Index i = 0; i < rows(k); ++i) {
      Real* to = level(k + 1) + i * wide;
      std::fill_n(to, wide, Real{0});
      for (Index a = 0; a < bond; ++a) {
        const Real factor = level(k)[i * bond + a];
        const T* from = core + a * wide;
#pragma omp simd
        for (Index e = 0; e < wide; ++e) to[e] += factor * static_cast<Real>(from[e]);
      }
    }
  }

  /// From the gradient in level k + 1, in `above`: that in the core is added to, that in level k is written.
  template <class T>
  void go_back(std::size_t k, const T* core, Products& above, T* d_core) {
    const Index bond = shape_.bonds[k], wide = shape_.extents[k] * shape_.bonds[k + 1];
    for (Index i = 0; i < rows(k); ++i) {
      const Real* d_to = above.level(k + 1) + i * wide;
      for (Index a = 0; a < bond; ++a) {
        const Real factor = level(k)[i * bond + a];
        const T* from = core + a * wide;
        T* d_from = d_core + a * wide;
        Real sum = 0;
#pragma omp simd reduction(+ : sum)
        for (Index e = 0; e < wide; ++e) {
          sum += d_to[e] * static_cast<Real>(from[e]);
          d_from[e] += static_cast<T>(factor * d_to[e]);
        }
        above.level(k)[i * bond + a] = sum;
      }
    }
  }

 private:
  const RowTrainShape& shape_;
  std::vector<std::vector<Real>> levels_;
};

}  // namespace

Index RowTrainShape::cols() const { return std::accumulate(extents.begin(), extents.end(), Index{1}, std::multiplies<>()); }

void expand_row_trains(const RowTrainShape& shape, std::span<const ConstTensorView> cores, std::span<const std::int32_t> ids, TensorView out) {
  expect_shapes(shape, cores, ids, out.rows, out.cols);
  for_activation_type(out.dtype, [&]<class T>(T) {
    using Real = compute_t<T>;
    const auto to = out.as<T>();
    for_real_type(cores[0].dtype, [&]<class Core>(Core) {
      std::vector<ConstMatrixView<Core>> from;
      for (const auto& core : cores) from.push_back(core.template as<Core>());
#pragma omp parallel
      {
        Products<Real> products(shape);
#pragma omp for schedule(static)
        for (Index t = 0; t < out.rows; ++t) {
          for (std::size_t k = 0; k < from.size(); ++k) products.go_on(k, &from[k](ids[static_cast<std::size_t>(t)], 0));
          for (Index j = 0; j < out.cols; ++j) to(t, j) = static_cast<T>(products.last()[static_cast<std::size_t>(j)]);
        }
      }
    });
  });
}

void add_row_train_gradients(const RowTrainShape& shape, std::span<const ConstTensorView> cores, std::span<const std::int32_t> ids,
                             ConstTensorView dy, std::span<const TensorView> d_cores) {
  expect_shapes(shape, cores, ids, dy.rows, dy.cols);
  std::vector<std::size_t> order(ids.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, {}, [&](std::size_t t) { return ids[t]; });
  std::vector<std::size_t> first;  // of the places in `order` with the same id
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (i == 0 || ids[order[i]] != ids[order[i - 1]]) first.push_back(i);
  }
  first.push_back(order.size());
  const auto num_ids = static_cast<Index>(first.size()) - 1;
  for_real_type(dy.dtype, [&]<class Real>(Real) {
    const auto d_out = dy.as<Real>();
    std::vector<ConstMatrixView<Real>> from;
    std::vector<MatrixView<Real>> to;
    for (std::size_t k = 0; k < cores.size(); ++k) {
      from.push_back(cores[k].template as<Real>());
      to.push_back(d_cores[k].template as<Real>());
    }
#pragma omp parallel
    {
      Products<Real> products(shape), d_products(shape);
#pragma omp for schedule(static)
      for (Index g = 0; g < num_ids; ++g) {
        const auto begin = first[static_cast<std::size_t>(g)], end = first[static_cast<std::size_t>(g) + 1];
        const Index id = ids[order[begin]];
        std::fill(d_products.last().begin(), d_products.last().end(), Real{0});
        for (std::size_t i = begin; i < end; ++i) {
          for (Index j = 0; j < dy.cols; ++j) d_products.last()[static_cast<std::size_t>(j)] += d_out(static_cast<Index>(order[i]), j);
        }
        for (std::size_t k = 0; k + 1 < from.size(); ++k) products.go_on(k, &from[k](id, 0));
        for (std::size_t k = from.size(); k-- > 0;) products.go_back(k, &from[k](id, 0), d_products, &to[k](id, 0));
      }
    }
  });
}

}  // namespace kronlab::kernels
