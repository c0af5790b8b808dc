#include "experiments/pipeline/gradient_calibration.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "distill/distillation_loss.hpp"
#include "experiments/pipeline/share_sum.hpp"
#include "framework/base/progress.hpp"
#include "framework/comm/tree_sum.hpp"
#include "framework/linalg/gemm.hpp"
#include "framework/model/training_pass.hpp"
#include "framework/tensor/scratch.hpp"

namespace kronlab::experiments {
namespace {

using decompositions::GradientMoments;

std::vector<double> diagonal_moments(ConstTensorView gradient) {
  const auto g = gradient.as<float>();
  std::vector<double> sums(static_cast<std::size_t>(g.cols));
  for (Index i = 0; i < g.rows; ++i) {
    for (Index j = 0; j < g.cols; ++j) sums[static_cast<std::size_t>(j)] += static_cast<double>(g(i, j)) * static_cast<double>(g(i, j));
  }
  return sums;
}

std::vector<double> full_moments(ConstTensorView gradient) {
  std::vector<double> sums(static_cast<std::size_t>(gradient.cols * gradient.cols));
  linalg::gram(gradient, {sums.data(), gradient.cols, gradient.cols});
  return sums;
}

/// Sums over this rank's windows.
class Sums {
 public:
  explicit Sums(const std::map<std::string, GradientRequest>& layers) : layers_(layers) {}

  void push(const std::string& name, Index window, ConstTensorView gradient) {
    if (gradient.dtype != DType::f32) {
      const TensorView wide = resized(converted_, gradient.rows, gradient.cols, DType::f32);
      convert(gradient, wide);
      gradient = wide;
    }
    const bool is_full = layers_.at(name).kind == GradientMoments::full;
    sums_[name].push(window, is_full ? full_moments(gradient) : diagonal_moments(gradient));
  }

  std::map<std::string, Matrix<double>> collect(const comm::Communicator& communicator, Index num_tokens) {
    std::map<std::string, Matrix<double>> moments;
    for (const auto& [name, request] : layers_) {
      auto total = sums_[name].collect(communicator, request.owners.front());
      sums_.erase(name);
      const Index size = communicator.max(static_cast<Index>(total.size()));
      share_with(communicator, request.owners, total, size);
      if (total.empty()) continue;
      Index width = size, height = 1;
      if (request.kind == GradientMoments::full) {
        for (width = 0; width * width < size;) ++width;
        height = width;
      }
      Matrix<double> own(height, width);
      std::ranges::transform(total, own.data(), [&](double value) { return value / static_cast<double>(num_tokens); });
      moments[name] = std::move(own);
    }
    return moments;
  }

 private:
  const std::map<std::string, GradientRequest>& layers_;
  std::map<std::string, comm::TreeSum> sums_;
  Tensor converted_;
};

distill::LossOptions cross_entropy() {
  distill::LossOptions options;
  options.weights[distill::LossTerm::ce] = 1.0;
  return options;
}

}  // namespace

std::map<std::string, Matrix<double>> gradient_moments(const comm::Communicator& communicator, const model::Transformer& model,
                                                       const std::vector<std::int32_t>& ids, Index window, model::Precision precision,
                                                       const std::map<std::string, GradientRequest>& layers, const std::string& what) {
  const Index num_windows = static_cast<Index>(ids.size()) / window;
  KRONLAB_EXPECTS(num_windows > 0, "{} calibration tokens for windows of {}", ids.size(), window);
  const auto share = comm::block_range(num_windows, communicator.rank(), communicator.size());
  std::map<std::pair<Index, const void*>, std::string> names;  // two blocks may share an operator
  Index first_block = model.config().num_blocks;
  for (const auto& [name, request] : layers) {
    names[{request.block, model.layer(name).get()}] = name;
    first_block = std::min(first_block, request.block);
  }
  Sums sums(layers);
  comm::coordinate(communicator, [&] {
    distill::DistillationLoss loss(cross_entropy(), model.config(), nullptr, RandomStream(0));
    model::TrainingPass pass(model, {precision, model::Recompute::none, first_block, false});
    Progress progress(what, share.size());
    for (Index w = share.begin; w < share.end; ++w) {
      const auto tokens = std::span(ids).subspan(static_cast<std::size_t>(w * window), static_cast<std::size_t>(window));
      pass.forward(tokens, window);
      loss.backward(pass, nullptr, tokens, window, static_cast<double>(window - 1), nullptr, {},
                    [&](Index block, const linalg::LinearOperator& layer, ConstTensorView gradient) {
                      const auto name = names.find({block, &layer});
                      if (name != names.end()) sums.push(name->second, w, gradient);
                    });
      progress.update(w + 1 - share.begin);
    }
  });
  return sums.collect(communicator, num_windows * window);
}

}  // namespace kronlab::experiments
