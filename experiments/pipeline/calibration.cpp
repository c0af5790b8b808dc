#include "experiments/pipeline/calibration.hpp"

#include <algorithm>
#include <utility>

#include "experiments/pipeline/share_sum.hpp"
#include "framework/base/progress.hpp"
#include "framework/comm/tree_sum.hpp"
#include "framework/linalg/gemm.hpp"

namespace kronlab::experiments {
std::string to_string(const Site& site) {
  using enum model::InputSite;
  switch (site.site) {
    case attention:
      return fmt::format("block {} attention", site.block);
    case attention_output:
      return fmt::format("block {} attention output", site.block);
    case mlp:
      return fmt::format("block {} mlp", site.block);
    case mlp_hidden:
      return fmt::format("block {} mlp hidden", site.block);
    case head:
      return "head";
    case none:
      break;
  }
  return "none";
}

/// Sums of X^T X for the sites of one block, and of X'^T X where there are inputs X' of the reference.
class Calibration::Sums {
 public:
  /// Adds window `number`'s input.
  void push(const Site& site, Index number, ConstTensorView input, const Inputs& reference) {
    Matrix<double> g(input.cols, input.cols);
    linalg::gram(input, g);
    inputs_[site].push(number, values_of(g));
    if (!reference.contains(site)) return;
    const auto x = to_matrix<double>(input), other = to_matrix<double>(reference.at(site).view());
    linalg::gemm(linalg::Transpose::yes, other.view(), linalg::Transpose::no, x.view(), 0.0, g.view());
    reference_[site].push(number, values_of(g));
  }

  /// Collective: the sums of all windows, divided by tokens, at their owners.
  void collect(const comm::Communicator& communicator, const SiteOwners& owners, Index num_tokens, bool has_reference,
               SiteStatistics& statistics) {
    for (const auto& [site, ranks] : owners) {
      auto inputs = collected(inputs_, communicator, site, ranks, num_tokens);
      auto reference = has_reference ? collected(reference_, communicator, site, ranks, num_tokens) : Matrix<double>();
      if (inputs.size() == 0) continue;
      auto& found = statistics[site];
      found.num_tokens = num_tokens;
      found.input_moments = std::move(inputs);
      found.reference_moments = std::move(reference);
    }
  }

 private:
  using SumOfSite = std::map<Site, comm::TreeSum>;

  static std::vector<double> values_of(const Matrix<double>& g) { return {g.data(), g.data() + g.size()}; }

  /// Empty where this rank does not own the site.
  static Matrix<double> collected(SumOfSite& sums, const comm::Communicator& communicator, const Site& site, const std::vector<int>& ranks,
                                  Index num_tokens) {
    auto total = sums[site].collect(communicator, ranks.front());
    const Index size = communicator.max(static_cast<Index>(total.size()));
    share_with(communicator, ranks, total, size);
    sums.erase(site);
    if (total.empty()) return {};
    Index width = 0;
    while (width * width < size) ++width;
    Matrix<double> moments(width, width);
    std::ranges::transform(total, moments.data(), [&](double v) { return v / static_cast<double>(num_tokens); });
    return moments;
  }

  SumOfSite inputs_, reference_;
};

Calibration::Calibration(const comm::Communicator& communicator, const model::Transformer& model,
                         const std::vector<std::int32_t>& ids, Index window, model::Precision precision)
    : communicator_(communicator),
      window_(window),
      num_windows_(static_cast<Index>(ids.size()) / window),
      share_(comm::block_range(num_windows_, communicator.rank(), communicator.size())),
      workspace_(precision) {
  KRONLAB_EXPECTS(num_windows_ > 0, "{} calibration tokens for windows of {}", ids.size(), window);
  const auto tokens = std::span(ids).subspan(static_cast<std::size_t>(share_.begin * window),
                                             static_cast<std::size_t>(share_.size() * window));
  comm::coordinate(communicator, [&] {
    stream_ = Tensor::uninitialised(workspace_.stream_type(), {share_.size() * window, model.config().width});
    if (!tokens.empty()) model.embed(tokens, window, stream_.view());
  });
}

void Calibration::follow(const model::Transformer& reference) {
  if (reference_) return;
  reference_ = &reference;
  comm::coordinate(communicator_, [&] {
    reference_stream_ = Tensor::uninitialised(stream_.dtype(), {stream_.rows(), stream_.cols()});
    convert(stream_.view(), reference_stream_.view());
  });
}

/// The stream of one window, or a copy of it that may be changed.
TensorView Calibration::window_of(Tensor& stream, Index window, bool is_copied, Tensor& copy) const {
  const TensorView own = stream.view().block(window * window_, 0, window_, stream.cols());
  if (!is_copied) return own;
  if (copy.is_empty()) copy = Tensor::uninitialised(own.dtype, {window_, own.cols});
  convert(own, copy.view());
  return copy.view();
}

Calibration::Inputs Calibration::run_reference(Index block, Index window, const SiteOwners& owners, bool keeps_stream) {
  Inputs inputs;
  if (!reference_) return inputs;
  Tensor copy;
  const TensorView stream = window_of(reference_stream_, window, keeps_stream, copy);
  reference_->run_block(block, window_, stream, workspace_, [&](Index at, model::InputSite site, ConstTensorView input) {
    if (!owners.contains({at, site})) return;
    Tensor kept = Tensor::uninitialised(input.dtype, {input.rows, input.cols});
    convert(input, kept.view());
    inputs[{at, site}] = std::move(kept);
  });
  return inputs;
}

void Calibration::run_block(const model::Transformer& model, Index block, const SiteOwners& owners, Sums& sums,
                            bool keeps_stream) {
  Tensor copy;
  for (Index w = 0; w < share_.size(); ++w) {
    const Inputs reference = run_reference(block, w, owners, keeps_stream);
    const TensorView stream = window_of(stream_, w, keeps_stream, copy);
    model.run_block(block, window_, stream, workspace_, [&](Index at, model::InputSite site, ConstTensorView input) {
      if (owners.contains({at, site})) sums.push({at, site}, share_.begin + w, input, reference);
    });
  }
}

SiteStatistics Calibration::run_to(const model::Transformer& model, Index last, const SiteOwners& owners) {
  SiteStatistics statistics;
  for (; next_block_ < last; ++next_block_) {
    SiteOwners here;
    for (const auto& [site, ranks] : owners) {
      if (site.block == next_block_) here.emplace(site, ranks);
    }
    Sums sums;
    comm::coordinate(communicator_, [&] { run_block(model, next_block_, here, sums, false); });
    sums.collect(communicator_, here, num_tokens(), reference_ != nullptr, statistics);
  }
  return statistics;
}

SiteStatistics Calibration::observe(const model::Transformer& model, const SiteOwners& owners) {
  SiteStatistics statistics;
  Sums sums;
  comm::coordinate(communicator_, [&] { run_block(model, next_block_, owners, sums, true); });
  sums.collect(communicator_, owners, num_tokens(), reference_ != nullptr, statistics);
  return statistics;
}

SiteStatistics Calibration::observe_head(const model::Transformer& model, const std::vector<int>& owners) {
  KRONLAB_EXPECTS(next_block_ == model.config().num_blocks, "{} of {} blocks were run", next_block_,
                  model.config().num_blocks);
  const Site site{-1, model::InputSite::head};
  SiteStatistics statistics;
  Sums sums;
  comm::coordinate(communicator_, [&] {
    Tensor normed = Tensor::uninitialised(workspace_.activation_type(), {window_, stream_.cols()});
    Inputs reference;
    if (reference_) reference[site] = Tensor::uninitialised(workspace_.activation_type(), {window_, stream_.cols()});
    for (Index w = 0; w < share_.size(); ++w) {
      const auto at = [&](const Tensor& stream) { return stream.view().block(w * window_, 0, window_, stream.cols()); };
      if (reference_) reference_->final_norm(at(reference_stream_), reference[site].view());
      model.final_norm(at(stream_), normed.view());
      sums.push(site, share_.begin + w, normed.view(), reference);
    }
  });
  sums.collect(communicator_, {{site, owners}}, num_tokens(), reference_ != nullptr, statistics);
  return statistics;
}

}  // namespace kronlab::experiments
