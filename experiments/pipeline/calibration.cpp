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

/// Sums of X^T X for the sites of one block.
class Calibration::Sums {
 public:
  /// Adds window `number`'s input.
  void push(const Site& site, Index number, ConstTensorView input) {
    Matrix<double> g(input.cols, input.cols);
    linalg::gram(input, g);
    sums_[site].push(number, std::vector<double>(g.data(), g.data() + g.size()));
  }

  /// Collective: the sums of all windows, divided by tokens, at their owners.
  void collect(const comm::Communicator& communicator, const SiteOwners& owners, Index num_tokens,
               SiteStatistics& statistics) {
    for (const auto& [site, ranks] : owners) {
      auto total = sums_[site].collect(communicator, ranks.front());
      const Index size = communicator.max(static_cast<Index>(total.size()));
      share_with(communicator, ranks, total, size);
      sums_.erase(site);
      if (total.empty()) continue;
      Index width = 0;
      while (width * width < size) ++width;
      auto& found = statistics[site];
      found.num_tokens = num_tokens;
      found.input_moments = Matrix<double>(width, width);
      std::ranges::transform(total, found.input_moments.data(),
                             [&](double v) { return v / static_cast<double>(num_tokens); });
    }
  }

 private:
  std::map<Site, comm::TreeSum> sums_;
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

void Calibration::run_block(const model::Transformer& model, Index block, const SiteOwners& owners, Sums& sums,
                            bool keeps_stream) {
  Tensor copy;
  for (Index w = 0; w < share_.size(); ++w) {
    TensorView stream = stream_.view().block(w * window_, 0, window_, stream_.cols());
    if (keeps_stream) {
      if (copy.is_empty()) copy = Tensor::uninitialised(stream.dtype, {window_, stream.cols});
      convert(stream, copy.view());
      stream = copy.view();
    }
    model.run_block(block, window_, stream, workspace_, [&](Index at, model::InputSite site, ConstTensorView input) {
      if (owners.contains({at, site})) sums.push({at, site}, share_.begin + w, input);
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
    sums.collect(communicator_, here, num_tokens(), statistics);
  }
  return statistics;
}

SiteStatistics Calibration::observe(const model::Transformer& model, const SiteOwners& owners) {
  SiteStatistics statistics;
  Sums sums;
  comm::coordinate(communicator_, [&] { run_block(model, next_block_, owners, sums, true); });
  sums.collect(communicator_, owners, num_tokens(), statistics);
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
    for (Index w = 0; w < share_.size(); ++w) {
      model.final_norm(std::as_const(stream_).view().block(w * window_, 0, window_, stream_.cols()), normed.view());
      sums.push(site, share_.begin + w, normed.view());
    }
  });
  sums.collect(communicator_, {{site, owners}}, num_tokens(), statistics);
  return statistics;
}

}  // namespace kronlab::experiments
