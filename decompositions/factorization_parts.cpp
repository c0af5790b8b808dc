#include <cstring>
#include <utility>

#include "decompositions/factorization.hpp"
#include "decompositions/kronecker_sum.hpp"
#include "decompositions/part_access.hpp"
#include "decompositions/permuted.hpp"
#include "decompositions/quantised.hpp"
#include "decompositions/quantised_dense.hpp"
#include "decompositions/scaled.hpp"
#include "decompositions/sparse.hpp"
#include "decompositions/sum.hpp"

namespace kronlab::decompositions {

Tensor take_tensor(FactorizationParts& parts, const std::string& name) {
  const auto found = parts.tensors.find(name);
  if (found == parts.tensors.end())
    throw DataError(fmt::format("factorization '{}': tensor '{}' is missing", parts.kind, name));
  return std::move(found->second);
}

FactorizationParts take_child(FactorizationParts& parts, const std::string& name) {
  const auto found = parts.children.find(name);
  if (found == parts.children.end())
    throw DataError(fmt::format("factorization '{}': part '{}' is missing", parts.kind, name));
  return std::move(found->second);
}

Index integer_of(const FactorizationParts& parts, const std::string& name) {
  const auto found = parts.integers.find(name);
  if (found == parts.integers.end())
    throw DataError(fmt::format("factorization '{}': integer '{}' is missing", parts.kind, name));
  return found->second;
}

namespace {

std::vector<Index> take_permutation(FactorizationParts& parts, const std::string& name) {
  if (!parts.tensors.contains(name)) return {};
  const Tensor tensor = take_tensor(parts, name);
  const auto values = tensor.values<std::int32_t>();
  return {values.begin(), values.end()};
}

/// Empty where there are none.
Tensor take_scales(FactorizationParts& parts, const std::string& name) {
  return parts.tensors.contains(name) ? take_tensor(parts, name) : Tensor();
}

void append_bytes(std::string& out, const void* data, std::size_t size) {
  out.append(static_cast<const char*>(data), size);
}

void append_count(std::string& out, Index value) { append_bytes(out, &value, sizeof value); }

void append_text(std::string& out, const std::string& text) {
  append_count(out, static_cast<Index>(text.size()));
  out += text;
}

void append_parts(std::string& out, const FactorizationParts& parts) {
  append_text(out, parts.kind);
  append_count(out, static_cast<Index>(parts.integers.size()));
  for (const auto& [name, value] : parts.integers) {
    append_text(out, name);
    append_count(out, value);
  }
  append_count(out, static_cast<Index>(parts.tensors.size()));
  for (const auto& [name, tensor] : parts.tensors) {
    append_text(out, name);
    append_count(out, static_cast<Index>(tensor.dtype()));
    append_count(out, static_cast<Index>(tensor.shape().size()));
    for (const Index extent : tensor.shape()) append_count(out, extent);
    append_bytes(out, tensor.view().data, static_cast<std::size_t>(tensor.size_bytes()));
  }
  append_count(out, static_cast<Index>(parts.children.size()));
  for (const auto& [name, child] : parts.children) {
    append_text(out, name);
    append_parts(out, child);
  }
}

/// Reads what append_parts wrote; every length is checked against what is left.
class PartsReader {
 public:
  explicit PartsReader(std::string_view bytes) : rest_(bytes) {}

  FactorizationParts parts(int depth = 0) {
    if (depth > 16) throw DataError("factorization: nested more than 16 deep");
    FactorizationParts result;
    result.kind = text();
    for (Index i = count(); i > 0; --i) {
      const std::string name = text();
      result.integers[name] = number();
    }
    for (Index i = count(); i > 0; --i) {
      const std::string name = text();
      result.tensors[name] = tensor();
    }
    for (Index i = count(); i > 0; --i) {
      const std::string name = text();
      result.children[name] = parts(depth + 1);
    }
    return result;
  }
  bool is_at_end() const { return rest_.empty(); }

 private:
  std::string_view take(Index size) {
    if (size < 0 || size > static_cast<Index>(rest_.size())) throw DataError("factorization: truncated");
    const auto piece = rest_.substr(0, static_cast<std::size_t>(size));
    rest_.remove_prefix(static_cast<std::size_t>(size));
    return piece;
  }
  Index number() {
    Index value = 0;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  Index count() {
    const Index value = number();
    if (value < 0 || value > static_cast<Index>(rest_.size())) throw DataError("factorization: truncated");
    return value;
  }
  std::string text() { return std::string(take(count())); }
  Tensor tensor() {
    const Index type = number();
    if (type != static_cast<Index>(DType::f32) && type != static_cast<Index>(DType::f16) && type != static_cast<Index>(DType::i32))
      throw DataError(fmt::format("factorization: dtype {} of a factor", type));
    std::vector<Index> shape(static_cast<std::size_t>(count()));
    Index size = size_of(static_cast<DType>(type));
    for (Index& extent : shape) size = checked_product(size, extent = number(), "factorization");
    const auto bytes = take(size);
    Tensor result = Tensor::uninitialised(static_cast<DType>(type), shape);
    std::memcpy(result.view().data, bytes.data(), bytes.size());
    return result;
  }

  std::string_view rest_;
};

}  // namespace

std::unique_ptr<Factorization> make_factorization(FactorizationParts parts) {
  if (parts.kind == "dense") return std::make_unique<Dense>(take_tensor(parts, "weight"));
  if (parts.kind == "low-rank") {
    Tensor left = take_tensor(parts, "left");
    return std::make_unique<LowRank>(std::move(left), take_tensor(parts, "right"));
  }
  if (parts.kind == "kronecker-sum") {
    auto left = make_factorization(take_child(parts, "left"));
    return std::make_unique<KroneckerSum>(std::move(left), take_tensor(parts, "right"));
  }
  if (parts.kind == "permuted") {
    auto rows = take_permutation(parts, "rows");
    auto columns = take_permutation(parts, "columns");
    return std::make_unique<Permuted>(make_factorization(take_child(parts, "inner")), std::move(rows),
                                      std::move(columns));
  }
  if (parts.kind == "quantised") return Quantised::from_parts(parts);
  if (parts.kind == "quantised-dense") return QuantisedDense::from_parts(parts);
  if (parts.kind == "scaled") {
    Tensor row_scales = take_scales(parts, "row_scales"), column_scales = take_scales(parts, "column_scales");
    return std::make_unique<Scaled>(make_factorization(take_child(parts, "inner")), std::move(row_scales),
                                    std::move(column_scales));
  }
  if (parts.kind == "sparse") return Sparse::from_parts(parts);
  if (parts.kind == "sum") {
    std::vector<std::unique_ptr<Factorization>> terms;
    while (terms.size() < parts.children.size()) terms.push_back(make_factorization(take_child(parts, Sum::term_name(terms.size()))));
    return std::make_unique<Sum>(std::move(terms));
  }
  throw DataError(
      fmt::format("unknown factorization '{}'; known: dense, kronecker-sum, low-rank, permuted, quantised, quantised-dense, scaled, sparse, sum", parts.kind));
}

std::string serialise(const FactorizationParts& parts) {
  std::string out;
  append_parts(out, parts);
  return out;
}

FactorizationParts deserialise(std::string_view bytes) {
  PartsReader reader(bytes);
  auto parts = reader.parts();
  if (!reader.is_at_end()) throw DataError("factorization: bytes left over behind its end");
  return parts;
}

FactorizationParts copy_of(const FactorizationParts& parts) { return deserialise(serialise(parts)); }

}  // namespace kronlab::decompositions
