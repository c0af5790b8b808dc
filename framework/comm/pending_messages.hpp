#pragma once

#include <mpi.h>

#include <span>
#include <vector>

#include "framework/comm/communicator.hpp"

namespace kronlab::comm {

/// Messages on their way while this rank works on. Their memory must stay until wait() returns.
///
/// Not collective: receives meet the sends of the same tag between two ranks in the sequence of their calls. On a group of
/// its own, so that nothing that was left behind by an error meets later messages.
class PendingMessages {
 public:
  /// Collective.
  explicit PendingMessages(const Communicator& communicator) : communicator_(communicator.handle()) {}
  /// Gives up what is still pending.
  ~PendingMessages();
  PendingMessages(const PendingMessages&) = delete;
  PendingMessages& operator=(const PendingMessages&) = delete;

  /// Any number of bytes.
  void send(std::span<const std::byte> bytes, int to, int tag);
  void receive(std::span<std::byte> bytes, int from, int tag);
  /// Lets the library move what it can; to be called now and then between pieces of work.
  void progress();
  void wait();

 private:
  Communicator communicator_;
  std::vector<MPI_Request> requests_;
};

}  // namespace kronlab::comm
