#pragma once

#include <string>
#include <vector>

#include "framework/tensor/tensor.hpp"

namespace kronlab {

/// What a model file says of one tensor, before its data are touched.
struct TensorInfo {
  std::string name;
  std::vector<Index> shape;
  std::string stored_type;  ///< as the file calls it: "F32", "BF16", "Q4_1"
  Index stored_bytes = 0;
};

/// Named tensors of a model, in Hugging Face's names and layout, read only when asked for.
///
/// Implemented by the readers of safetensors and GGUF and by a model in memory.
class TensorSource {
 public:
  virtual ~TensorSource() = default;

  /// Sorted by name.
  virtual const std::vector<TensorInfo>& tensors() const = 0;
  /// Converts one tensor to `to.dtype` (f32, f64, f16 or bf16), seen as a matrix (Tensor::rows() x cols()).
  /// @throws DataError if the name is unknown, the shape differs, or a value is NaN or infinite
  virtual void read(const std::string& name, TensorView to) const = 0;

  bool has(const std::string& name) const { return find(name) != nullptr; }
  /// Null if there is no such tensor.
  const TensorInfo* find(const std::string& name) const;
  /// @throws DataError if there is no such tensor, with the nearest name if one is near
  const TensorInfo& info(const std::string& name) const;
  /// A new tensor of the stored shape. @throws as `read`
  Tensor load(const std::string& name, DType dtype = DType::f32) const;
};

}  // namespace kronlab
