#include "decompositions/quantised.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "decompositions/bit_packing.hpp"
#include "decompositions/part_access.hpp"

namespace kronlab::decompositions {
namespace {

constexpr std::string_view code_suffix = ".codes";

Index group_of(Index cols, const QuantisationGrid& grid) { return grid.group == 0 ? cols : grid.group; }

Index num_groups(Index size, Index cols, const QuantisationGrid& grid) {
  const Index group = group_of(cols, grid);
  return (size + group - 1) / group;
}

/// Puts the tensors of one factor into `packed`.
void pack_factor(const std::string& name, const Tensor& factor, const QuantisationGrid& grid, FactorizationParts& packed) {
  const auto values = to_matrix<double>(factor.view());
  for (Index i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values.data()[i])) throw DataError(fmt::format("quantised: '{}' has a number {}, expected finite ones", name, values.data()[i]));
  }
  const Index size = values.size(), group = group_of(values.cols(), grid);
  std::vector<std::uint8_t> codes, zeros;
  Tensor scales(DType::f16, {num_groups(size, values.cols(), grid)});
  for (Index first = 0, g = 0; first < size; first += group, ++g) {
    const std::span some(values.data() + first, static_cast<std::size_t>(std::min(group, size - first)));
    const GroupScale by = scale_by_range(some, grid);
    scales.values<float16>()[static_cast<std::size_t>(g)] = float16(by.scale);
    zeros.push_back(by.zero);
    for (const double value : some) codes.push_back(nearest_code(value, by, grid));
  }
  packed.tensors[name + std::string(code_suffix)] = packed_bits(codes, grid.bits);
  packed.tensors[name + ".scales"] = std::move(scales);
  if (!grid.symmetric) packed.tensors[name + ".zeros"] = packed_bits(zeros, grid.bits);
  for (std::size_t i = 0; i < factor.shape().size(); ++i) packed.integers[fmt::format("{}.extent{}", name, i)] = factor.shape()[i];
}

/// The number of factors that were packed is added to num_packed.
FactorizationParts pack(const FactorizationParts& plain, const QuantisationGrid& grid, Index& num_packed) {
  if (plain.kind == "quantised") throw DataError("quantised: a factorization inside is quantised already");
  FactorizationParts packed{plain.kind, plain.integers, {}, {}};
  for (const auto& [name, tensor] : plain.tensors) {
    if (tensor.dtype() == DType::f32 && tensor.shape().size() >= 2) {
      pack_factor(name, tensor, grid, packed);
      ++num_packed;
    } else {
      packed.tensors[name] = tensor.clone();
    }
  }
  for (const auto& [name, child] : plain.children) packed.children[name] = pack(child, grid, num_packed);
  return packed;
}

std::vector<Index> take_extents(FactorizationParts& parts, const std::string& name) {
  std::vector<Index> shape;
  for (auto found = parts.integers.find(name + ".extent0"); found != parts.integers.end();
       found = parts.integers.find(fmt::format("{}.extent{}", name, shape.size()))) {
    if (found->second < 1) throw DataError(fmt::format("quantised: '{}' has an extent of {}", name, found->second));
    shape.push_back(found->second);
    parts.integers.erase(found);
  }
  if (shape.size() < 2) throw DataError(fmt::format("quantised: '{}' has {} extents, expected two or more", name, shape.size()));
  return shape;
}

Tensor take_factor(FactorizationParts& parts, const std::string& name, const QuantisationGrid& grid) {
  const auto shape = take_extents(parts, name);
  Index size = 1;
  for (const Index extent : shape) size = checked_product(size, extent, "quantised");
  const Index count = num_groups(size, shape.back(), grid), group = group_of(shape.back(), grid);
  const auto codes = unpacked_bytes(take_tensor(parts, name + std::string(code_suffix)), size, grid.bits, "quantised codes");
  const Tensor scales = take_tensor(parts, name + ".scales");
  if (scales.dtype() != DType::f16 || scales.size() != count)
    throw DataError(fmt::format("quantised: '{}' has {} scales of type {}, expected {} of f16", name, scales.size(), to_string(scales.dtype()), count));
  std::vector<std::uint8_t> zeros(static_cast<std::size_t>(count), static_cast<std::uint8_t>(grid.num_levels() / 2));
  if (!grid.symmetric) zeros = unpacked_bytes(take_tensor(parts, name + ".zeros"), count, grid.bits, "quantised zeros");
  Tensor factor = Tensor::uninitialised(DType::f32, shape);
  const auto values = factor.values<float>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto g = i / static_cast<std::size_t>(group);
    const auto scale = static_cast<float>(scales.values<float16>()[g]);
    if (!std::isfinite(scale)) throw DataError(fmt::format("quantised: '{}' has a scale {}, expected a finite one", name, scale));
    values[i] = static_cast<float>(value_of(codes[i], {scale, zeros[g]}));
  }
  parts.tensors.erase(name + std::string(code_suffix));
  parts.tensors.erase(name + ".scales");
  parts.tensors.erase(name + ".zeros");
  return factor;
}

/// The inverse of `pack`, rounded.
FactorizationParts unpack(FactorizationParts packed, const QuantisationGrid& grid) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : packed.tensors) {
    if (name.ends_with(code_suffix)) names.push_back(name.substr(0, name.size() - code_suffix.size()));
  }
  for (const auto& name : names) packed.tensors[name] = take_factor(packed, name, grid);
  for (auto& [name, child] : packed.children) child = unpack(std::move(child), grid);
  return packed;
}

Index bytes_of(const FactorizationParts& parts) {
  Index bytes = 0;
  for (const auto& [name, tensor] : parts.tensors) bytes += tensor.size_bytes();
  for (const auto& [name, child] : parts.children) bytes += bytes_of(child);
  return bytes;
}

FactorizationParts packed_parts(const Factorization& inner, const QuantisationGrid& grid) {
  expect_possible(grid);
  Index num_packed = 0;
  const auto plain = inner.parts();
  auto packed = pack(plain, grid, num_packed);
  if (num_packed == 0) throw DataError(fmt::format("quantised: '{}' has no factor with two extents", plain.kind));
  return packed;
}

std::unique_ptr<Factorization> written_out(const FactorizationParts& packed, const QuantisationGrid& grid) {
  return make_factorization(unpack(copy_of(packed), grid));
}

}  // namespace

Quantised::Quantised(FactorizationParts packed, const QuantisationGrid& grid, std::unique_ptr<Factorization> inner)
    : Factorization(inner->rows(), inner->cols()), packed_(std::move(packed)), grid_(grid), inner_(std::move(inner)) {}

Quantised::Quantised(const Factorization& inner, const QuantisationGrid& grid)
    : Factorization(inner.rows(), inner.cols()), packed_(packed_parts(inner, grid)), grid_(grid), inner_(written_out(packed_, grid)) {}

std::unique_ptr<Quantised> Quantised::from_parts(FactorizationParts& parts) {
  const QuantisationGrid grid{integer_of(parts, "bits"), integer_of(parts, "group"), integer_of(parts, "symmetric") != 0};
  try {
    expect_possible(grid);
  } catch (const ConfigError& error) {
    throw DataError(error.what());
  }
  auto packed = take_child(parts, "inner");
  auto inner = written_out(packed, grid);
  return std::unique_ptr<Quantised>(new Quantised(std::move(packed), grid, std::move(inner)));
}

Index Quantised::factor_bytes(Index rows, Index cols, const QuantisationGrid& grid) {
  expect_possible(grid);
  const Index size = rows * cols, count = num_groups(size, cols, grid);
  return packed_bytes(size, grid.bits) + count * size_of(DType::f16) + (grid.symmetric ? 0 : packed_bytes(count, grid.bits));
}

Index Quantised::stored_bytes() const { return bytes_of(packed_); }

FactorizationParts Quantised::parts() const {
  FactorizationParts parts{"quantised", {{"bits", grid_.bits}, {"group", grid_.group}, {"symmetric", grid_.symmetric}}, {}, {}};
  parts.children["inner"] = copy_of(packed_);
  return parts;
}

std::unique_ptr<Factorization> Quantised::copy() const {
  return std::unique_ptr<Factorization>(new Quantised(copy_of(packed_), grid_, inner_->copy()));
}

void Quantised::do_backward(ConstTensorView, ConstTensorView, std::span<const TensorView> gradients, std::optional<TensorView>, linalg::Write) const {
  KRONLAB_EXPECTS(false, "{} gradients of quantised factors, which do not learn", gradients.size());
}

void Quantised::do_backward_gather(std::span<const std::int32_t>, ConstTensorView, std::span<const TensorView> gradients) const {
  KRONLAB_EXPECTS(false, "{} gradients of quantised factors, which do not learn", gradients.size());
}

}  // namespace kronlab::decompositions
