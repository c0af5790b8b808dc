#include "framework/linalg/gemm.hpp"

#include <cblas.h>
#include <dnnl.h>
#include <omp.h>

#include <algorithm>
#include <array>
#include <dnnl.hpp>
#include <unordered_map>
#include <utility>
#include <vector>

#include "framework/linalg/blas_threads.hpp"
#include "framework/tensor/scratch.hpp"

namespace kronlab::linalg {
namespace {

struct Shape {
  Index m, n, k;
};

int as_int(Index value) { return checked_cast<int>(value); }

void scale_empty_product(double beta, TensorView c) {
  if (beta == 0.0) fill_zero(c);
}

void gemm_f32(Transpose ta, ConstMatrixView<float> a, Transpose tb, ConstMatrixView<float> b, double beta,
              MatrixView<float> c, Shape s) {
  const auto status = dnnl_sgemm(ta == Transpose::yes ? 'T' : 'N', tb == Transpose::yes ? 'T' : 'N', s.m, s.n, s.k,
                                 1.0f, a.data, a.stride, b.data, b.stride, static_cast<float>(beta), c.data, c.stride);
  KRONLAB_EXPECTS(status == dnnl_success, "dnnl_sgemm of {} x {} x {} failed with status {}", s.m, s.n, s.k,
                  static_cast<int>(status));
}

void gemm_f64(Transpose ta, ConstMatrixView<double> a, Transpose tb, ConstMatrixView<double> b, double beta,
              MatrixView<double> c, Shape s) {
  keep_blas_single_threaded();
  constexpr Index strip = 64;  // rows of C per task: fixed, so the number of threads does not enter the result
  const Index num_strips = (s.m + strip - 1) / strip;
#pragma omp parallel for schedule(dynamic) if (num_strips > 1)
  for (Index t = 0; t < num_strips; ++t) {
    const Index first = t * strip, rows = std::min(strip, s.m - first);
    const double* a_strip = ta == Transpose::yes ? a.data + first : a.data + first * a.stride;
    cblas_dgemm(CblasRowMajor, ta == Transpose::yes ? CblasTrans : CblasNoTrans,
                tb == Transpose::yes ? CblasTrans : CblasNoTrans, as_int(rows), as_int(s.n), as_int(s.k), 1.0, a_strip,
                as_int(a.stride), b.data, as_int(b.stride), beta, c.data + first * c.stride, as_int(c.stride));
  }
}

/// What a oneDNN primitive is made for.
struct MatmulKey {
  std::array<Index, 6> extents;  // m, n, k and the three strides
  int options;
  bool operator==(const MatmulKey&) const = default;
};

struct MatmulKeyHash {
  std::size_t operator()(const MatmulKey& key) const {
    std::size_t hash = static_cast<std::size_t>(key.options);
    for (const Index extent : key.extents) hash = hash * 0x9E3779B97F4A7C15ULL + static_cast<std::size_t>(extent);
    return hash;
  }
};

struct Matmul {
  dnnl::matmul primitive;
  dnnl::memory::desc a, b, c, scratchpad;
};

const dnnl::engine& cpu() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

Matmul make_matmul(Transpose ta, Transpose tb, const MatmulKey& key, double beta, DType c_type) {
  using Memory = dnnl::memory;
  const auto [m, n, k, a_stride, b_stride, c_stride] = key.extents;
  const auto strides = [](Transpose t, Index stride) {
    return t == Transpose::yes ? Memory::dims{1, stride} : Memory::dims{stride, 1};
  };
  Matmul made;
  made.a = {{m, k}, Memory::data_type::bf16, strides(ta, a_stride)};
  made.b = {{k, n}, Memory::data_type::bf16, strides(tb, b_stride)};
  made.c = {{m, n}, c_type == DType::f32 ? Memory::data_type::f32 : Memory::data_type::bf16, Memory::dims{c_stride, 1}};
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (beta != 0.0) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attributes.set_post_ops(sum);
  }
  const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(made.a, made.b, made.c), attributes, cpu());
  made.scratchpad = description.scratchpad_desc();
  made.primitive = dnnl::matmul(description);
  return made;
}

ConstMatrixView<float> widened(Tensor& scratch, ConstTensorView narrow) {
  const TensorView view = resized(scratch, narrow.rows, narrow.cols, DType::f32);
  convert(narrow, view);
  return view.as<float>();
}

/// C = A op(B) + beta C by the calling thread.
void widened_product(ConstTensorView a, Transpose ta, ConstMatrixView<float> b, Transpose tb, double beta, TensorView c,
                     Shape s) {
  static thread_local Tensor a_scratch, c_scratch;
  const auto a_wide = widened(a_scratch, a);
  if (c.dtype == DType::f32) return gemm_f32(ta, a_wide, tb, b, beta, c.as<float>(), s);
  const TensorView c_wide = resized(c_scratch, c.rows, c.cols, DType::f32);
  if (beta != 0.0) convert(c, c_wide);
  gemm_f32(ta, a_wide, tb, b, beta, c_wide.as<float>(), s);
  convert(c_wide, c);
}

/// bf16 products where the CPU has none (before AVX-512): the same values and the same accumulation, in float32. Strips
/// of rows of C are taken by the threads one after another, each with its own wide copy of B, so a product is one
/// parallel region: what is widened twice costs 1 % of the product, a barrier between the steps more.
void gemm_bf16_widened(Transpose ta, ConstMatrixView<bfloat16> a, Transpose tb, ConstMatrixView<bfloat16> b,
                       double beta, TensorView c, Shape s) {
  constexpr Index strip = 256;  // rows of C; fixed, so the number of threads does not enter the result
  static thread_local Tensor b_scratch;
  if (ta == Transpose::yes || s.m <= strip) return widened_product(a, ta, widened(b_scratch, b), tb, beta, c, s);
#pragma omp parallel
  {
    ConstMatrixView<float> b_wide;
#pragma omp for schedule(dynamic)
    for (Index first = 0; first < s.m; first += strip) {
      if (b_wide.data == nullptr) b_wide = widened(b_scratch, b);
      const Index rows = std::min(strip, s.m - first);
      widened_product(a.block(first, 0, rows, s.k), ta, b_wide, tb, beta, c.block(first, 0, rows, s.n),
                      {rows, s.n, s.k});
    }
  }
}

bool has_bf16_products() {
  static const bool result = (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core) == dnnl_cpu_isa_avx512_core;
  return result;
}

void gemm_bf16(Transpose ta, ConstMatrixView<bfloat16> a, Transpose tb, ConstMatrixView<bfloat16> b, double beta,
               TensorView c, Shape s) {
  if (!has_bf16_products()) return gemm_bf16_widened(ta, a, tb, b, beta, c, s);
  static std::unordered_map<MatmulKey, Matmul, MatmulKeyHash> cache;
  static std::vector<std::byte> scratchpad;
  const MatmulKey key{{s.m, s.n, s.k, a.stride, b.stride, c.stride},
                      (ta == Transpose::yes) | (tb == Transpose::yes) << 1 | (c.dtype == DType::f32) << 2 |
                          (beta != 0.0) << 3 | omp_get_max_threads() << 4};
  auto found = cache.find(key);
  if (found == cache.end()) {
    if (cache.size() > 512) cache.clear();
    found = cache.emplace(key, make_matmul(ta, tb, key, beta, c.dtype)).first;
  }
  Matmul& matmul = found->second;
  if (scratchpad.size() < matmul.scratchpad.get_size() + 64) scratchpad.resize(matmul.scratchpad.get_size() + 64);
  const auto memory = [](const dnnl::memory::desc& desc, const void* data) {
    return dnnl::memory(desc, cpu(), const_cast<void*>(data));
  };
  void* aligned = scratchpad.data();
  std::size_t space = scratchpad.size();
  std::align(64, matmul.scratchpad.get_size(), aligned, space);
  dnnl::stream stream(cpu());
  matmul.primitive.execute(stream, {{DNNL_ARG_SRC, memory(matmul.a, a.data)},
                                    {DNNL_ARG_WEIGHTS, memory(matmul.b, b.data)},
                                    {DNNL_ARG_DST, memory(matmul.c, c.data)},
                                    {DNNL_ARG_SCRATCHPAD, memory(matmul.scratchpad, aligned)}});
  stream.wait();
}

}  // namespace

void gemm(Transpose transpose_a, ConstTensorView a, Transpose transpose_b, ConstTensorView b, double beta,
          TensorView c) {
  const auto [m, k] = transpose_a == Transpose::yes ? std::pair(a.cols, a.rows) : std::pair(a.rows, a.cols);
  const auto [k_b, n] = transpose_b == Transpose::yes ? std::pair(b.cols, b.rows) : std::pair(b.rows, b.cols);
  KRONLAB_EXPECTS(k == k_b && c.rows == m && c.cols == n, "product of {} x {} and {} x {} into {} x {}", m, k, k_b, n,
                  c.rows, c.cols);
  KRONLAB_EXPECTS(beta == 0.0 || beta == 1.0, "beta is {}, expected 0 or 1", beta);
  if (m == 0 || n == 0) return;
  if (k == 0) return scale_empty_product(beta, c);
  switch (a.dtype) {
    case DType::f32:
      return gemm_f32(transpose_a, a.as<float>(), transpose_b, b.as<float>(), beta, c.as<float>(), {m, n, k});
    case DType::f64:
      return gemm_f64(transpose_a, a.as<double>(), transpose_b, b.as<double>(), beta, c.as<double>(), {m, n, k});
    case DType::bf16:
      KRONLAB_EXPECTS(c.dtype == DType::f32 || c.dtype == DType::bf16, "product of bf16 into {}", to_string(c.dtype));
      return gemm_bf16(transpose_a, a.as<bfloat16>(), transpose_b, b.as<bfloat16>(), beta, c, {m, n, k});
    default:
      KRONLAB_EXPECTS(false, "no product for {}", to_string(a.dtype));
  }
}

void gram(ConstTensorView x, MatrixView<double> g, bool add) {
  KRONLAB_EXPECTS(g.rows == x.cols && g.cols == x.cols, "Gram matrix of {} columns into {} x {}", x.cols, g.rows,
                  g.cols);
  keep_blas_single_threaded();
  Matrix<double> converted;
  if (x.dtype != DType::f64) converted = to_matrix<double>(x);
  const auto values = x.dtype == DType::f64 ? x.as<double>() : std::as_const(converted).view();
  constexpr Index tile = 192;
  const Index num_tiles = (x.cols + tile - 1) / tile;
#pragma omp parallel for schedule(dynamic) collapse(2)
  for (Index i = 0; i < num_tiles; ++i) {
    for (Index j = 0; j < num_tiles; ++j) {
      if (j < i) continue;
      const Index row = i * tile, col = j * tile;
      cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, as_int(std::min(tile, x.cols - row)),
                  as_int(std::min(tile, x.cols - col)), as_int(x.rows), 1.0, values.data + row, as_int(values.stride),
                  values.data + col, as_int(values.stride), add ? 1.0 : 0.0, &g(row, col), as_int(g.stride));
    }
  }
#pragma omp parallel for schedule(static)
  for (Index i = 0; i < g.rows; ++i) {
    for (Index j = 0; j < i; ++j) g(i, j) = g(j, i);
  }
}

}  // namespace kronlab::linalg
