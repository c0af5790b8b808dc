#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "framework/tensor/scratch.hpp"
#include "framework/tensor/tensor.hpp"
#include "tests/support/memory_source.hpp"
#include "tests/support/message_of.hpp"

namespace kronlab {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

std::uint16_t bf16_bits(float value) { return bfloat16(value).bits; }
std::uint16_t f16_bits(float value) { return float16(value).bits; }

template <class Half>
float value_of(std::uint16_t bits) {
  Half half;
  half.bits = bits;
  return static_cast<float>(half);
}

/// The neighbours' rounding boundary and every stored value, for a 16-bit type whose infinity has these bits.
template <class Half>
void check_all_values(std::uint16_t infinity_bits) {
  for (std::uint16_t bits = 0; bits < infinity_bits; ++bits) {
    const auto next = static_cast<std::uint16_t>(bits + 1);
    const float value = value_of<Half>(bits);
    BOOST_REQUIRE(Half(value).bits == bits);
    BOOST_REQUIRE(Half(-value).bits == (bits | 0x8000));
    if (next == infinity_bits) break;
    const float middle =
        static_cast<float>((static_cast<double>(value) + static_cast<double>(value_of<Half>(next))) / 2);
    BOOST_REQUIRE(Half(middle).bits == (bits % 2 == 0 ? bits : next));  // a tie goes to the even one
    BOOST_REQUIRE(Half(std::nextafter(middle, 0.0f)).bits == bits);
    BOOST_REQUIRE(Half(std::nextafter(middle, infinity)).bits == next);
  }
}

BOOST_AUTO_TEST_SUITE(tensor)

BOOST_AUTO_TEST_CASE(bf16_rounds_every_value_and_tie_to_the_nearest_even) { check_all_values<bfloat16>(0x7F80); }

BOOST_AUTO_TEST_CASE(f16_rounds_every_value_and_tie_to_the_nearest_even) { check_all_values<float16>(0x7C00); }

BOOST_AUTO_TEST_CASE(half_precision_keeps_infinities_nan_and_denormals) {
  BOOST_TEST(bf16_bits(infinity) == 0x7F80);
  BOOST_TEST(bf16_bits(-infinity) == 0xFF80);
  BOOST_TEST(bf16_bits(std::numeric_limits<float>::max()) == 0x7F80);  // nearer to 2^128 than to the largest bf16
  BOOST_TEST(bf16_bits(-0.0f) == 0x8000);
  BOOST_TEST(f16_bits(65519.0f) == 0x7BFF);
  BOOST_TEST(f16_bits(65520.0f) == 0x7C00);
  BOOST_TEST(f16_bits(-infinity) == 0xFC00);
  BOOST_TEST(value_of<float16>(1) == 0x1p-24f);
  BOOST_TEST(f16_bits(0x1p-25f) == 0);
  BOOST_TEST(value_of<bfloat16>(1) == 0x1p-133f);
  // NaNs whose payload lies in the bits that are dropped, or would carry into the exponent
  for (const std::uint32_t word : {0x7F800001u, 0xFF800001u, 0x7FC00000u, 0x7FFFFFFFu, 0xFFFFFFFFu}) {
    BOOST_TEST(std::isnan(static_cast<float>(bfloat16(std::bit_cast<float>(word)))));
    BOOST_TEST(std::isnan(static_cast<float>(float16(std::bit_cast<float>(word)))));
  }
}

BOOST_AUTO_TEST_CASE(a_tensor_knows_its_shape_and_starts_at_zero) {
  const Tensor t(DType::f64, {2, 3, 5});
  BOOST_TEST(t.size() == 30);
  BOOST_TEST(t.size_bytes() == 240);
  BOOST_TEST(t.rows() == 6);
  BOOST_TEST(t.cols() == 5);
  for (const double value : t.values<double>()) BOOST_TEST(value == 0.0);
  BOOST_TEST(reinterpret_cast<std::uintptr_t>(t.values<double>().data()) % 64 == 0u);
  const Tensor vector(DType::bf16, {7});
  BOOST_TEST(vector.rows() == 1);
  BOOST_TEST(vector.cols() == 7);
  const Tensor empty(DType::f32, {4, 0});
  BOOST_TEST(empty.is_empty());
  BOOST_TEST(empty.rows() == 0);
  BOOST_CHECK_THROW(Tensor(DType::f32, {2, -1}), ContractError);
  BOOST_CHECK_THROW(Tensor(DType::f32, {Index{1} << 40, Index{1} << 40}), DataError);
  BOOST_CHECK_THROW(t.values<float>(), ContractError);
  BOOST_CHECK_THROW(t.view().as<float>(), ContractError);
}

BOOST_AUTO_TEST_CASE(a_clone_is_another_array_of_the_same_values) {
  const Tensor original = testing::random_tensor({3, 4}, RandomStream(1));
  Tensor copy = original.clone();
  BOOST_TEST(copy.shape() == original.shape(), boost::test_tools::per_element());
  BOOST_TEST(testing::relative_difference(copy.view(), original.view()) == 0.0);
  copy.values<float>()[0] += 1;
  BOOST_TEST(testing::relative_difference(copy.view(), original.view()) > 0.0);
  BOOST_TEST(Tensor().clone().is_empty());
}

BOOST_AUTO_TEST_CASE(blocks_are_windows_onto_their_matrix) {
  Tensor t(DType::i32, {4, 5});
  for (Index i = 0; i < 20; ++i) t.values<std::int32_t>()[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(i);
  const auto block = t.view().block(1, 2, 2, 3).block(1, 1, 1, 2).as<std::int32_t>();
  BOOST_TEST(block(0, 0) == 13);
  BOOST_TEST(block(0, 1) == 14);
  BOOST_TEST(block.stride == 5);
  BOOST_CHECK_NO_THROW(t.view().block(4, 5, 0, 0));
  BOOST_CHECK_THROW(t.view().block(0, 0, 5, 1), ContractError);
  BOOST_CHECK_THROW(t.view().block(0, 3, 1, 3), ContractError);
  BOOST_CHECK_THROW(t.view().block(-1, 0, 1, 1), ContractError);
  BOOST_CHECK_THROW(t.view().block(2, 0, -1, 1), ContractError);
}

BOOST_AUTO_TEST_CASE(conversion_goes_between_all_floating_types) {
  const DType types[] = {DType::f32, DType::f64, DType::f16, DType::bf16};
  Tensor exact(DType::f64, {2, 3});
  const double values[] = {0.0, -1.5, 0.25, 96.0, -0.0078125, 1.0};  // exact in every type
  std::ranges::copy(values, exact.values<double>().begin());
  for (const DType from : types) {
    for (const DType to : types) {
      Tensor a(from, {2, 3}), b(to, {2, 3});
      convert(exact.view(), a.view());
      convert(a.view(), b.view());
      BOOST_TEST(testing::relative_difference(b.view(), exact.view()) == 0.0);
    }
  }
  Tensor third(DType::f64, {1}), single(DType::f32, {1}), half(DType::bf16, {1});
  third.values<double>()[0] = 1.0 / 3;
  convert(third.view(), single.view());
  convert(third.view(), half.view());
  BOOST_TEST(single.values<float>()[0] == 1.0f / 3);
  BOOST_TEST(half.values<bfloat16>()[0].bits == 0x3EAB);
  Tensor integers(DType::i32, {1}), other(DType::f32, {2});
  BOOST_CHECK_THROW(convert(integers.view(), single.view()), ContractError);
  BOOST_CHECK_THROW(convert(single.view(), integers.view()), ContractError);
  BOOST_CHECK_THROW(convert(single.view(), other.view()), ContractError);
}

BOOST_AUTO_TEST_CASE(a_scratch_buffer_grows_and_is_reused) {
  Tensor scratch;
  const TensorView first = resized(scratch, 3, 4, DType::f32);
  BOOST_TEST(first.rows == 3);
  BOOST_TEST(first.stride == 4);
  BOOST_TEST(resized(scratch, 2, 5, DType::f32).data == first.data);
  BOOST_TEST(resized(scratch, 2, 5, DType::f32).stride == 5);
  BOOST_TEST(resized(scratch, 5, 5, DType::f32).cols == 5);
  BOOST_TEST((resized(scratch, 1, 1, DType::bf16).dtype == DType::bf16));
}

BOOST_AUTO_TEST_CASE(scratch_is_used_again_once_it_is_returned_and_never_twice_at_once) {
  const void* first = nullptr;
  {
    const Scratch outer(30, 40, DType::f32), inner(3, 4, DType::bf16);
    first = outer.view().data;
    BOOST_TEST(inner.view().data != first);
    BOOST_TEST(inner.view().stride == 4);
    BOOST_TEST((inner.view().dtype == DType::bf16));
  }
  const Scratch again(20, 30, DType::f64);  // as many bytes
  BOOST_TEST(again.view().data == first);
  Scratch moved(1, 1, DType::f32);
  moved = Scratch(2, 3, DType::f32);
  BOOST_TEST(moved.view().cols == 3);
  BOOST_TEST(Scratch(0, 5, DType::f32).view().rows == 0);
  BOOST_TEST(Scratch().view().data == nullptr);
}

BOOST_AUTO_TEST_CASE(a_source_finds_tensors_by_name_and_names_the_nearest) {
  testing::MemorySource source;
  BOOST_TEST(testing::message_of([&] { source.info("wte.weight"); }).find("none") != std::string::npos);
  source.put("wte.weight", Tensor(DType::f32, {3, 2}));
  source.put("wpe.weight", Tensor(DType::f32, {4, 2}));
  BOOST_TEST(source.has("wpe.weight"));
  BOOST_TEST(!source.has("wpe"));
  BOOST_TEST(source.load("wte.weight", DType::f64).rows() == 3);
  BOOST_CHECK_THROW(source.load("wt.weight"), DataError);
  const auto message = testing::message_of([&] { source.info("wt.weight"); });
  BOOST_TEST(message.find("'wt.weight' (did you mean 'wte.weight'?)") != std::string::npos, message);
}

BOOST_AUTO_TEST_CASE(zeros_fill_a_view_and_nothing_beside_it) {
  for (const auto dtype : {DType::f32, DType::f64, DType::bf16}) {
    Tensor tensor = Tensor::uninitialised(dtype, {3, 4});
    Matrix<double> ones(3, 4);
    std::fill_n(ones.data(), ones.size(), 1.0);
    convert(ones.view(), tensor.view());
    fill_zero(tensor.view().block(1, 1, 2, 2));
    const auto values = to_matrix<double>(tensor.view());
    for (Index i = 0; i < 3; ++i) {
      for (Index j = 0; j < 4; ++j) BOOST_TEST(values(i, j) == (i >= 1 && j >= 1 && j <= 2 ? 0.0 : 1.0));
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace kronlab
