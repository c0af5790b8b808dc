#pragma once

#include <vector>

#include "framework/model/parameters.hpp"

namespace kronlab::distill {

/// AdamW (Loshchilov and Hutter, 2019) as PyTorch computes it.
struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
};

/// What is particular to one tensor.
struct TensorSettings {
  double rate_factor = 1.0;  ///< times the schedule's learning rate
  double weight_decay = 0.0;
};

/// AdamW over some elements of what learns: all, or the pieces of one rank.
class AdamW {
 public:
  /// settings: one for each of parameters.tensors(). `parameters` must outlive this.
  AdamW(const AdamWOptions& options, std::vector<TensorSettings> settings, const model::Parameters& parameters,
        std::vector<model::GradientBucket> pieces);

  /// One update with gradients times gradient_scale. The parameters are told that they changed by the caller.
  void step(double rate, double gradient_scale, const model::Gradients& gradients);

  Index num_updates() const { return num_updates_; }
  void set_num_updates(Index count) { num_updates_ = count; }
  const std::vector<model::GradientBucket>& pieces() const { return pieces_; }
  /// First and second moments of the pieces' elements, one piece after another.
  Tensor& first() { return first_; }
  Tensor& second() { return second_; }

 private:
  AdamWOptions options_;
  std::vector<TensorSettings> settings_;
  const model::Parameters& parameters_;
  std::vector<model::GradientBucket> pieces_;
  Tensor first_, second_;
  Index num_updates_ = 0;
};

/// Calls body(tensor index, first element within the tensor, element of the gradients, count) for each run of elements of
/// a tensor in `range`.
template <class Body>
void for_tensors_in(const model::Parameters& parameters, model::GradientBucket range, Body body) {
  const auto tensors = parameters.tensors();
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const Index begin = std::max(range.begin, tensors[i].offset), end = std::min(range.end, tensors[i].offset + tensors[i].size);
    if (begin < end) body(i, begin - tensors[i].offset, begin, end - begin);
  }
}

}  // namespace kronlab::distill
