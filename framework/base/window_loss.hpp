#pragma once

#include <span>
#include <vector>

#include "framework/base/types.hpp"

namespace kronlab {

/// What one window adds to the mean loss of a text, which is the sum of losses over the sum of weights.
struct WindowLoss {
  double weight = 0.0;  ///< predicted tokens, or 1 where the protocol takes the mean over windows
  double loss = 0.0;    ///< nat, summed over the window's tokens (or their mean)
  bool operator==(const WindowLoss&) const = default;
};

struct MeanLoss {
  double mean = 0.0;            ///< nat per weight
  double standard_error = 0.0;  ///< windows are the independent observations; 0 where there is only one
};

/// The ratio estimator of the mean and its standard error over clusters (the windows), with n / (n - 1).
/// @pre there is a window, and every weight is positive
MeanLoss mean_loss(std::span<const WindowLoss> windows);

/// The second model's loss minus the first's on the same windows.
struct PairedDifference {
  MeanLoss difference;
  Index num_windows = 0;
  double t = 0.0;        ///< the mean in standard errors; infinite where every window differs by the same, but not by 0
  double p_value = 1.0;  ///< Student's t-test with n - 1 degrees of freedom, two-sided; NaN where a loss is
};

/// @throws DataError if the windows are not the same (number, weights), or fewer than two
PairedDifference paired_difference(std::span<const WindowLoss> first, std::span<const WindowLoss> second);

}  // namespace kronlab
