#pragma once

#include <boost/test/unit_test.hpp>
#include <initializer_list>
#include <utility>

#include "framework/linalg/gemm.hpp"
#include "framework/linalg/linear_operator.hpp"
#include "tests/support/kernel_case.hpp"

namespace kronlab::testing {

/// y += x W^T for batches of these sizes and all types of activations is what W's numbers, `dense`, say.
inline void check_products(const linalg::LinearOperator& w, const Matrix<double>& dense, std::initializer_list<Index> batches) {
  for (const Index n : batches) {
    const Tensor x = random_tensor({n, w.cols()}, RandomStream(5));
    for (const auto& [type, out_type] : {std::pair{DType::f32, DType::f32}, {DType::bf16, DType::bf16}, {DType::bf16, DType::f32}, {DType::f64, DType::f64}}) {
      Strided in(type, to_matrix<double>(x.view())), out(out_type, random_matrix(n, w.rows(), RandomStream(6)));
      Matrix<double> expected = out.values(), sizes = absolute(expected);
      linalg::gemm(linalg::Transpose::no, in.values().view(), linalg::Transpose::yes, dense.view(), 1.0, expected.view());
      linalg::gemm(linalg::Transpose::no, absolute(in.values()).view(), linalg::Transpose::yes, absolute(dense).view(), 1.0, sizes.view());
      w.apply(in.view(), out.view(), linalg::Write::add);
      // Against the sum of the terms' sizes, which cancel: a few roundings, of the weight to bf16 one more.
      const double limit = bound(out_type, 1) + (type == DType::bf16 ? 0x1p-8 : 0.0);
      BOOST_TEST(error_against(sizes, out.values(), expected) < limit);
      BOOST_TEST(out.is_untouched_outside());
    }
  }
}

}  // namespace kronlab::testing
