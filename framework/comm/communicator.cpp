#include "framework/comm/communicator.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <thread>
#include <utility>

#include "framework/comm/check.hpp"
#include "framework/comm/watchdog.hpp"

namespace kronlab::comm {
namespace {

/// Largest count of one message: MPI counts are int.
constexpr std::size_t max_chunk = std::size_t{1} << 30;

CollectiveError::Cause cause_of(const std::exception& error) {
  if (const auto* collective = dynamic_cast<const CollectiveError*>(&error)) return collective->cause();
  if (dynamic_cast<const ContractError*>(&error)) return CollectiveError::Cause::contract;
  if (dynamic_cast<const ConfigError*>(&error)) return CollectiveError::Cause::config;
  if (dynamic_cast<const DataError*>(&error)) return CollectiveError::Cause::data;
  return CollectiveError::Cause::environment;
}

}  // namespace

template <>
MPI_Datatype mpi_type<float>() {
  return MPI_FLOAT;
}
template <>
MPI_Datatype mpi_type<double>() {
  return MPI_DOUBLE;
}
template <>
MPI_Datatype mpi_type<Index>() {
  return MPI_INT64_T;
}

Communicator::Communicator(MPI_Comm handle) {
  check(MPI_Comm_dup(handle, &handle_), "MPI_Comm_dup");
  check(MPI_Comm_set_errhandler(handle_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  check(MPI_Comm_rank(handle_, &rank_), "MPI_Comm_rank");
  check(MPI_Comm_size(handle_, &size_), "MPI_Comm_size");
}

Communicator::~Communicator() {
  // Freeing is collective: while this rank unwinds the others may be elsewhere.
  if (handle_ != MPI_COMM_NULL && std::uncaught_exceptions() == 0) MPI_Comm_free(&handle_);
}

Communicator::Communicator(Communicator&& other) noexcept { *this = std::move(other); }

Communicator& Communicator::operator=(Communicator&& other) noexcept {
  std::swap(handle_, other.handle_);
  std::swap(rank_, other.rank_);
  std::swap(size_, other.size_);
  return *this;
}

void Communicator::barrier() const {
  const Waiting waiting("MPI_Barrier");
  check(MPI_Barrier(handle_), "MPI_Barrier");
}

void Communicator::barrier_asleep() const {
  const Waiting waiting("MPI_Ibarrier");
  MPI_Request request = MPI_REQUEST_NULL;
  check(MPI_Ibarrier(handle_, &request), "MPI_Ibarrier");
  for (int is_done = 0; is_done == 0;) {
    check(MPI_Test(&request, &is_done, MPI_STATUS_IGNORE), "MPI_Test");
    if (is_done == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

void Communicator::broadcast_bytes(void* data, std::size_t size, int root) const {
  const Waiting waiting("MPI_Bcast");
  for (std::size_t begin = 0; begin < size; begin += max_chunk) {
    const auto count = static_cast<int>(std::min(max_chunk, size - begin));
    check(MPI_Bcast(static_cast<std::byte*>(data) + begin, count, MPI_BYTE, root, handle_), "MPI_Bcast");
  }
}

std::string Communicator::broadcast(std::string text, int root) const {
  Index size = static_cast<Index>(text.size());
  broadcast_bytes(&size, sizeof size, root);
  text.resize(static_cast<std::size_t>(size));
  broadcast_bytes(text.data(), text.size(), root);
  return text;
}

template <class T>
void Communicator::sum(std::span<T> values) const {
  const Waiting waiting("MPI_Allreduce");
  for (std::size_t begin = 0; begin < values.size(); begin += max_chunk) {
    const auto count = static_cast<int>(std::min(max_chunk, values.size() - begin));
    check(MPI_Allreduce(MPI_IN_PLACE, values.data() + begin, count, mpi_type<T>(), MPI_SUM, handle_), "MPI_Allreduce");
  }
}
template void Communicator::sum<double>(std::span<double>) const;
template void Communicator::sum<float>(std::span<float>) const;
template void Communicator::sum<Index>(std::span<Index>) const;

Index Communicator::sum(Index value) const {
  sum(std::span<Index>(&value, 1));
  return value;
}

Index Communicator::max(Index value) const {
  const Waiting waiting("MPI_Allreduce");
  check(MPI_Allreduce(MPI_IN_PLACE, &value, 1, MPI_INT64_T, MPI_MAX, handle_), "MPI_Allreduce");
  return value;
}

double Communicator::max(double value) const {
  const Waiting waiting("MPI_Allreduce");
  check(MPI_Allreduce(MPI_IN_PLACE, &value, 1, MPI_DOUBLE, MPI_MAX, handle_), "MPI_Allreduce");
  return value;
}

std::vector<std::string> Communicator::all_gather(const std::string& text) const {
  const Waiting waiting("MPI_Allgatherv");
  const int own = checked_cast<int>(text.size());
  std::vector<int> sizes(static_cast<std::size_t>(size_));
  check(MPI_Allgather(&own, 1, MPI_INT, sizes.data(), 1, MPI_INT, handle_), "MPI_Allgather");
  std::vector<int> offsets(sizes.size());
  Index total = 0;
  for (std::size_t r = 0; r < sizes.size(); ++r) {
    offsets[r] = checked_cast<int>(total);
    total += sizes[r];
  }
  std::string joined(static_cast<std::size_t>(total), '\0');
  check(MPI_Allgatherv(text.data(), own, MPI_CHAR, joined.data(), sizes.data(), offsets.data(), MPI_CHAR, handle_),
        "MPI_Allgatherv");
  std::vector<std::string> texts;
  for (std::size_t r = 0; r < sizes.size(); ++r) {
    texts.push_back(joined.substr(static_cast<std::size_t>(offsets[r]), static_cast<std::size_t>(sizes[r])));
  }
  return texts;
}

template <class T>
void Communicator::all_gather(std::span<T> values, std::span<const Index> ends) const {
  const Waiting waiting("MPI_Allgatherv");
  std::vector<int> counts, offsets;
  for (Index begin = 0; const Index end : ends) {
    offsets.push_back(checked_cast<int>(begin));
    counts.push_back(checked_cast<int>(end - begin));
    begin = end;
  }
  check(MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, values.data(), counts.data(), offsets.data(), mpi_type<T>(), handle_),
        "MPI_Allgatherv");
}
template void Communicator::all_gather<double>(std::span<double>, std::span<const Index>) const;
template void Communicator::all_gather<float>(std::span<float>, std::span<const Index>) const;

void Communicator::send_bytes(std::span<const std::byte> bytes, int to, int tag) const {
  const Waiting waiting("MPI_Send");
  for (std::size_t begin = 0; begin < bytes.size(); begin += max_chunk) {
    const auto count = static_cast<int>(std::min(max_chunk, bytes.size() - begin));
    check(MPI_Send(bytes.data() + begin, count, MPI_BYTE, to, tag, handle_), "MPI_Send");
  }
}

void Communicator::receive_bytes(std::span<std::byte> bytes, int from, int tag) const {
  const Waiting waiting("MPI_Recv");
  for (std::size_t begin = 0; begin < bytes.size(); begin += max_chunk) {
    const auto count = static_cast<int>(std::min(max_chunk, bytes.size() - begin));
    check(MPI_Recv(bytes.data() + begin, count, MPI_BYTE, from, tag, handle_, MPI_STATUS_IGNORE), "MPI_Recv");
  }
}

Communicator Communicator::split(int colour) const {
  const Waiting waiting("MPI_Comm_split");
  MPI_Comm part = MPI_COMM_NULL;
  check(MPI_Comm_split(handle_, colour, rank_, &part), "MPI_Comm_split");
  Communicator result(part);
  MPI_Comm_free(&part);
  return result;
}

void coordinate(const Communicator& communicator, const std::function<void()>& local_work) {
  int failing_rank = communicator.size();
  std::string message;
  auto cause = CollectiveError::Cause::environment;
  try {
    local_work();
  } catch (const std::exception& error) {
    failing_rank = communicator.rank();
    message = error.what();
    cause = cause_of(error);
  }
  const int first = -static_cast<int>(communicator.max(static_cast<Index>(-failing_rank)));
  if (first == communicator.size()) return;
  message = communicator.broadcast(std::move(message), first);
  auto cause_number = static_cast<Index>(cause);
  communicator.broadcast(std::span<Index>(&cause_number, 1), first);
  const std::string prefix = communicator.size() == 1 ? "" : fmt::format("rank {}: ", first);
  throw CollectiveError(static_cast<CollectiveError::Cause>(cause_number), prefix + message);
}

void coordinate_root(const Communicator& communicator, const std::function<void()>& work_of_root) {
  std::exception_ptr error;
  if (communicator.is_root()) {
    try {
      work_of_root();
    } catch (...) {
      error = std::current_exception();
    }
  }
  communicator.barrier_asleep();
  coordinate(communicator, [&] {
    if (error) std::rethrow_exception(error);
  });
}

}  // namespace kronlab::comm
