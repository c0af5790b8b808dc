#pragma once

#include <memory>
#include <span>
#include <vector>

#include "framework/comm/communicator.hpp"
#include "framework/comm/pending_messages.hpp"
#include "framework/model/parameters.hpp"

namespace kronlab::distill {

/// The sum of the gradients of a step's micro-batches over all ranks, in a fixed binary tree over the number of the
/// micro-batch: the same bits for any number of ranks.
///
/// A rank takes a contiguous range of the micro-batches and holds one array of gradients for each level of its part of
/// the tree that is open at one time. The elements of every bucket are divided into pieces, one for each rank: a rank
/// sums its piece from what the others send it, bucket after bucket while the last backward pass goes on. So no rank
/// sends or receives more than the gradients once or twice, whatever the number of ranks.
class GradientSum {
 public:
  /// Collective.
  GradientSum(const comm::Communicator& communicator, const model::Parameters& parameters, Index num_micro_batches);

  /// The micro-batches of this rank; may be empty.
  comm::Range own_micro_batches() const { return own_; }
  /// Zeros for the gradients of the next micro-batch. Not collective, like the next two.
  model::Gradients& begin();
  /// The gradients of a bucket are complete: in the last micro-batch they start to travel.
  void bucket_complete(std::size_t bucket);
  /// The micro-batch is complete.
  void end();
  /// Waits for the other ranks: then the elements of own_pieces() in total() are the sum. Collective.
  void finish();

  model::Gradients& total() { return *slots_.front().gradients; }
  /// Where the pieces of a rank lie in the elements; in the sequence of the buckets, whole chunks.
  std::vector<model::GradientBucket> pieces_of(int rank) const;
  std::vector<model::GradientBucket> own_pieces() const { return pieces_of(communicator_.rank()); }

  /// Elements whose sum of squares is one number, counted from the start of each bucket.
  static constexpr Index chunk = 1 << 16;
  /// Euclidean norm of the whole sum, from sums of squares by chunk: the same bits for any number of ranks. Collective.
  double norm() const;
  /// Every rank's pieces of `elements` (of the gradients' extent and type) to all ranks. Collective.
  void all_gather(Tensor& elements) const;
  /// Arrays of gradients that a rank with these micro-batches holds at one time.
  static Index num_arrays(comm::Range micro_batches);

 private:
  /// A node of the tree: the sum of 2^level micro-batches from index 2^level on.
  struct Node {
    Index level = 0;
    Index index = 0;
    bool operator==(const Node&) const = default;
  };
  struct Slot {
    Node node;
    std::unique_ptr<model::Gradients> gradients;
  };
  struct Received {
    int rank = 0;
    Node node;
    std::vector<std::byte> elements;
  };
  static std::vector<Node> nodes_of(comm::Range micro_batches);
  comm::Range micro_batches_of(int rank) const;
  model::GradientBucket piece(std::size_t bucket, int rank) const;
  std::size_t merge(model::GradientBucket range);
  void send_pieces(std::size_t bucket);
  void sum_piece(std::size_t bucket);
  std::span<std::byte> bytes(Tensor& elements, model::GradientBucket range) const;

  const comm::Communicator& communicator_;
  const model::Parameters& parameters_;
  Index num_micro_batches_;
  comm::Range own_;
  Index next_ = 0;               ///< micro-batch that begins next
  std::size_t num_open_ = 0;     ///< slots in use
  std::vector<Slot> slots_;      ///< the open nodes, then the current micro-batch
  std::vector<std::vector<Received>> received_;  ///< by bucket
  std::vector<char> is_sent_;
  comm::PendingMessages messages_;
};

}  // namespace kronlab::distill
