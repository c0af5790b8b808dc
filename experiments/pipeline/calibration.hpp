#pragma once

#include <compare>
#include <map>
#include <string>
#include <vector>

#include "decompositions/decomposer.hpp"
#include "framework/comm/communicator.hpp"
#include "framework/model/transformer.hpp"

namespace kronlab::experiments {

/// Layers of one site share their input, and so their statistics.
struct Site {
  Index block = 0;
  model::InputSite site = model::InputSite::none;
  auto operator<=>(const Site&) const = default;
};
std::string to_string(const Site& site);

/// Which ranks need the statistics of which sites.
using SiteOwners = std::map<Site, std::vector<int>>;
/// Statistics of the sites that this rank owns.
using SiteStatistics = std::map<Site, decompositions::LayerStatistics>;

/// Calibration text on its way through a model, block by block: each rank holds the residual stream of its share of the
/// windows, so that no block is run twice and memory grows with tokens and a few sites, not with the model.
///
/// A window is one micro-batch. Second moments C = X^T X / tokens are summed in double in a fixed binary tree over the
/// windows: bit-equal for any number of ranks at a fixed number of threads.
class Calibration {
 public:
  /// Embeds the windows of this rank; what is left after the last whole window is not used. Collective.
  /// @throws ContractError if there is no whole window
  Calibration(const comm::Communicator& communicator, const model::Transformer& model,
              const std::vector<std::int32_t>& ids, Index window, model::Precision precision);

  /// From the next block on also runs the text through `reference`, whose blocks so far were the same: statistics then
  /// have `reference_moments`. A second call changes nothing. Collective; the reference must outlive this.
  void follow(const model::Transformer& reference);
  /// Runs blocks up to `last` (exclusive), and gathers the inputs of the sites on the way. Collective.
  SiteStatistics run_to(const model::Transformer& model, Index last, const SiteOwners& owners);
  /// The same for one block, but the stream stays before it: for a block that will be run again when it is compressed.
  SiteStatistics observe(const model::Transformer& model, const SiteOwners& owners);
  /// The input of the head: the final norm of the stream. @pre all blocks were run. Collective.
  SiteStatistics observe_head(const model::Transformer& model, const std::vector<int>& owners);

  Index next_block() const { return next_block_; }
  Index num_tokens() const { return num_windows_ * window_; }

 private:
  class Sums;
  /// A block's inputs of one window, by site.
  using Inputs = std::map<Site, Tensor>;
  TensorView window_of(Tensor& stream, Index window, bool is_copied, Tensor& copy) const;
  Inputs run_reference(Index block, Index window, const SiteOwners& owners, bool keeps_stream);
  void run_block(const model::Transformer& model, Index block, const SiteOwners& owners, Sums& sums, bool keeps_stream);

  const comm::Communicator& communicator_;
  Index window_, num_windows_;
  comm::Range share_;
  model::Workspace workspace_;
  Tensor stream_;  ///< [windows of this rank * window, width]
  const model::Transformer* reference_ = nullptr;
  Tensor reference_stream_;
  Index next_block_ = 0;
};

}  // namespace kronlab::experiments
