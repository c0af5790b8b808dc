#pragma once

#include <mpi.h>

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "framework/base/types.hpp"

namespace kronlab::comm {

/// The MPI type of arithmetic type T; null where there is none.
template <class T>
MPI_Datatype mpi_type();

/// A group of ranks. Owns a duplicate of its MPI communicator, so its messages meet no other library's.
///
/// Every member that communicates is collective over the group unless it says otherwise. A communicator of one rank
/// works like any other. Errors of MPI are thrown as MpiError with the call's name and the system's text.
class Communicator {
 public:
  /// Duplicates `handle`. Collective.
  explicit Communicator(MPI_Comm handle);
  ~Communicator();
  Communicator(Communicator&& other) noexcept;
  Communicator& operator=(Communicator&& other) noexcept;

  int rank() const { return rank_; }
  int size() const { return size_; }
  bool is_root() const { return rank_ == 0; }
  MPI_Comm handle() const { return handle_; }

  void barrier() const;
  /// The same for a long wait: ranks sleep, a millisecond at a time.
  void barrier_asleep() const;
  template <class T>
  void broadcast(std::span<T> values, int root = 0) const {
    broadcast_bytes(values.data(), values.size_bytes(), root);
  }
  std::string broadcast(std::string text, int root = 0) const;
  /// In place; any size (more than 2^31 elements too).
  template <class T>
  void sum(std::span<T> values) const;
  Index sum(Index value) const;
  Index max(Index value) const;
  double max(double value) const;
  /// Every rank's text, in the order of ranks, on all ranks.
  std::vector<std::string> all_gather(const std::string& text) const;

  /// Values [ends[r - 1], ends[r]) of rank r become known to all ranks, in place.
  template <class T>
  void all_gather(std::span<T> values, std::span<const Index> ends) const;

  /// Point to point, not collective; any number of bytes.
  void send_bytes(std::span<const std::byte> bytes, int to, int tag) const;
  void receive_bytes(std::span<std::byte> bytes, int from, int tag) const;

  /// A group of the ranks that give the same colour, ranked as here.
  Communicator split(int colour) const;

 private:
  void broadcast_bytes(void* data, std::size_t size, int root) const;

  MPI_Comm handle_ = MPI_COMM_NULL;
  int rank_ = 0;
  int size_ = 1;
};

/// Runs rank-local work that may throw, then agrees: if any rank threw, every rank throws CollectiveError with the
/// first failing rank's number and message, else all return. Local work must not communicate. Collective.
void coordinate(const Communicator& communicator, const std::function<void()>& local_work);

/// The same for work with a result.
template <class Work>
requires(!std::is_void_v<std::invoke_result_t<Work>>) auto coordinate(const Communicator& communicator,
                                                                      Work&& local_work) {
  std::optional<std::invoke_result_t<Work>> result;
  coordinate(communicator, [&] { result.emplace(local_work()); });
  return std::move(*result);
}

/// The same for work of root alone. The other ranks sleep meanwhile, looking up a thousand times a second, and leave it
/// the machine: for measurements of time. Collective.
void coordinate_root(const Communicator& communicator, const std::function<void()>& work_of_root);

/// Initialises MPI, runs `program` on the world, and turns exceptions into exit codes and one message per cause.
/// A rank that throws outside `coordinate` aborts the job with its rank and message.
/// Refuses a world smaller than the launcher said (SLURM_NTASKS) and N worlds of one rank.
int run(int argc, char** argv, const std::function<int(const Communicator& world)>& program);

/// Contiguous share of `count` items: rank r of n gets [begin, end); sizes differ by at most one.
struct Range {
  Index begin = 0;
  Index end = 0;
  Index size() const { return end - begin; }
};
Range block_range(Index count, int rank, int size);

/// Owner of each item: longest first onto the least loaded rank or the first below a capacity (MULTIFIT: Coffman, Garey and Johnson,
/// 1978), then exchanges. Ties by lowest index: a pure function of costs and `size`, the same on every rank.
class WorkPartition {
 public:
  WorkPartition(std::span<const double> costs, int size);
  int owner(Index item) const { return owners_[static_cast<std::size_t>(item)]; }
  /// Items of one rank, ascending.
  std::vector<Index> items_of(int rank) const;
  /// Largest load over mean load; 1 is perfect.
  double imbalance() const { return imbalance_; }

 private:
  std::vector<int> owners_;
  double imbalance_ = 1.0;
};

}  // namespace kronlab::comm
