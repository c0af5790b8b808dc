#include "distill/optimizer.hpp"

#include <algorithm>
#include <utility>

#include "framework/kernels/adamw.hpp"
#include "framework/kernels/dispatch.hpp"

namespace kronlab::distill {

AdamW::AdamW(const AdamWOptions& options, std::vector<TensorSettings> settings, const model::Parameters& parameters,
             std::vector<model::GradientBucket> pieces)
    : options_(options), settings_(std::move(settings)), parameters_(parameters), pieces_(std::move(pieces)) {
  KRONLAB_EXPECTS(settings_.size() == parameters.tensors().size(), "{} settings for {} tensors", settings_.size(), parameters.tensors().size());
  Index count = 0;
  for (const auto& piece : pieces_) count += piece.end - piece.begin;
  first_ = Tensor(parameters.dtype(), {count});
  second_ = Tensor(parameters.dtype(), {count});
}

void AdamW::step(double rate, double gradient_scale, const model::Gradients& gradients) {
  ++num_updates_;
  kernels::for_real_type(parameters_.dtype(), [&]<class T>(T) {
    const auto g = gradients.elements().values<T>();
    const auto m = first_.values<T>(), v = second_.values<T>();
    Index state = 0;  // element of the moments that belongs to the piece's first
    for (const auto& piece : pieces_) {
      for_tensors_in(parameters_, piece, [&](std::size_t tensor, Index within, Index element, Index count) {
        const auto part = [count](auto span, Index first) { return span.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count)); };
        const auto& [factor, decay] = settings_[tensor];
        const kernels::AdamWStep step{rate * factor, options_.beta1, options_.beta2, options_.epsilon, decay, num_updates_, gradient_scale};
        const Index at = state + element - piece.begin;
        kernels::adamw<T>(step, part(parameters_.tensors()[tensor].value->values<T>(), within), part(g, element), part(m, at), part(v, at));
      });
      state += piece.end - piece.begin;
    }
  });
}

}  // namespace kronlab::distill
