#include "framework/comm/pending_messages.hpp"

#include <algorithm>

#include "framework/base/error.hpp"
#include "framework/comm/check.hpp"
#include "framework/comm/watchdog.hpp"

namespace kronlab::comm {
namespace {

constexpr std::size_t max_chunk = std::size_t{1} << 28;

}  // namespace

PendingMessages::~PendingMessages() {
  for (MPI_Request& request : requests_) {
    if (request == MPI_REQUEST_NULL) continue;
    MPI_Cancel(&request);
    MPI_Request_free(&request);
  }
}

void PendingMessages::send(std::span<const std::byte> bytes, int to, int tag) {
  for (std::size_t begin = 0; begin < bytes.size(); begin += max_chunk) {
    const auto count = static_cast<int>(std::min(max_chunk, bytes.size() - begin));
    check(MPI_Isend(bytes.data() + begin, count, MPI_BYTE, to, tag, communicator_.handle(), &requests_.emplace_back()), "MPI_Isend");
  }
}

void PendingMessages::receive(std::span<std::byte> bytes, int from, int tag) {
  for (std::size_t begin = 0; begin < bytes.size(); begin += max_chunk) {
    const auto count = static_cast<int>(std::min(max_chunk, bytes.size() - begin));
    check(MPI_Irecv(bytes.data() + begin, count, MPI_BYTE, from, tag, communicator_.handle(), &requests_.emplace_back()), "MPI_Irecv");
  }
}

void PendingMessages::progress() {
  int all_done = 0;
  check(MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &all_done, MPI_STATUSES_IGNORE), "MPI_Testall");
  if (all_done) requests_.clear();
}

void PendingMessages::wait() {
  const Waiting waiting("MPI_Waitall");
  check(MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), MPI_STATUSES_IGNORE), "MPI_Waitall");
  requests_.clear();
}

}  // namespace kronlab::comm
