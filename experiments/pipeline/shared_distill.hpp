#pragma once

#include "framework/config/value.hpp"

namespace kronlab::experiments {

/// A run's configuration with what its `[distill]` says in every stage that trains and does not say it itself; `[distill]`
/// itself is gone. A table such as `losses` is taken as a whole.
///
///   [distill]
///   tokens = 98_304                    # of all these stages together, in equal shares; or epochs
///   losses = { kl = 1.0, ce = 0.5 }
///   lr = 1e-4
///   [[stage]]
///   distill = {}
///   [[stage]]
///   distill = { lr = 5e-5 }
///
/// A stage that gives its own length (steps, tokens or epochs) takes no share. @throws ConfigError on a `[distill]` that is
/// no table, has `steps`, which cannot be divided, or whose length is no positive number
config::Value with_shared_distill(config::Value run);

}  // namespace kronlab::experiments
