#pragma once

namespace kronlab {

/// What a signal asked for: SIGUSR1 a checkpoint, SIGUSR2, SIGTERM or SIGINT (Ctrl-C) a checkpoint and then to stop.
///
/// The handlers only set flags; long work looks at them between its steps. A second SIGINT, or a
/// SIGTERM more than a second after the first, ends the process at once.
struct StopRequest {
  static void install_handlers();
  /// Whether a checkpoint was asked for since the last call; forgets it.
  static bool take_checkpoint();
  static bool is_stop_wanted();
  /// As a signal would; for tests and for what decides by other means.
  static void ask_to_stop();
  static void forget();
};

}  // namespace kronlab
