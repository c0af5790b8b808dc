#pragma once

#include <vector>

#include "framework/comm/communicator.hpp"

namespace kronlab::comm {

/// The sum of arrays numbered 0 .. count-1 in a fixed binary tree over their numbers: the same bits for any partition
/// of the numbers to ranks, as long as every rank holds a contiguous range and lower ranks hold lower numbers.
///
/// A rank keeps at most 2 log2(count) partial sums. Node (level, index) is the sum of the 2^level arrays from
/// index 2^level on; the incomplete right end is folded from the right.
class TreeSum {
 public:
  /// Adds array `number`; numbers of one rank ascend without gaps.
  void push(Index number, std::vector<double> values);
  /// The whole sum on rank `owner`, nothing elsewhere; the partial sums are given up. Collective.
  std::vector<double> collect(const Communicator& communicator, int owner);

 private:
  struct Node {
    Index level = 0;
    Index index = 0;
    std::vector<double> values;
  };
  void append(Node node);

  std::vector<Node> nodes_;
};

}  // namespace kronlab::comm
