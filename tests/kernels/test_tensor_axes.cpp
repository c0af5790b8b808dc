#include <boost/test/unit_test.hpp>

#include "framework/kernels/tensor_axes.hpp"
#include "tests/support/kernel_case.hpp"

namespace kronlab::kernels {
namespace {

using testing::activation_types;
using testing::error_of;
using testing::random_matrix;
using testing::Strided;

const AxisExtents shapes[] = {{1, 1, 1}, {3, 5, 1}, {5, 3, 4}, {1, 7, 2}, {40, 17, 1}, {2, 33, 3}, {3, 2, 8}, {2, 3, 12}, {5, 3, 16}, {3, 4, 32}};

Matrix<double> swapped(const AxisExtents& e, const Matrix<double>& x) {
  Matrix<double> y(x.rows(), x.cols());
  for (Index t = 0; t < x.rows(); ++t) {
    for (Index a = 0; a < e.outer; ++a) {
      for (Index b = 0; b < e.inner; ++b) {
        for (Index c = 0; c < e.run; ++c) y(t, (b * e.outer + a) * e.run + c) = x(t, (a * e.inner + b) * e.run + c);
      }
    }
  }
  return y;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(tensor_axes)

BOOST_AUTO_TEST_CASE(swapped_axes_hold_every_element_at_its_place_and_swapped_back_the_original) {
  for (const auto& e : shapes) {
    for (const DType type : activation_types) {
      Strided x(type, random_matrix(4, e.size(), RandomStream(1))), y(type, 4, e.size()), back(type, 4, e.size());
      swap_axes(e, x.view(), y.view());
      BOOST_TEST(error_of(y.values(), swapped(e, x.values())) == 0.0);
      swap_axes({e.inner, e.outer, e.run}, y.view(), back.view());
      BOOST_TEST(error_of(back.values(), x.values()) == 0.0);
      BOOST_TEST((y.is_untouched_outside() && back.is_untouched_outside()));
    }
  }
}

BOOST_AUTO_TEST_CASE(swapped_axes_are_added_where_asked) {
  for (const auto& e : shapes) {
    Strided x(DType::f64, random_matrix(4, e.size(), RandomStream(1))), y(DType::f64, random_matrix(4, e.size(), RandomStream(2)));
    auto expected = swapped(e, x.values());
    for (Index i = 0; i < expected.size(); ++i) expected.data()[i] += y.values().data()[i];
    swap_axes(e, x.view(), y.view(), true);
    BOOST_TEST(error_of(y.values(), expected) == 0.0);
  }
}

BOOST_AUTO_TEST_CASE(extents_that_do_not_make_up_a_row_are_refused) {
  Strided x(DType::f32, 2, 12), y(DType::f32, 2, 12), narrow(DType::f32, 2, 6);
  BOOST_CHECK_THROW(swap_axes({2, 5, 1}, x.view(), y.view()), ContractError);
  BOOST_CHECK_THROW(swap_axes({3, 4, 1}, x.view(), narrow.view()), ContractError);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace kronlab::kernels
