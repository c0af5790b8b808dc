#include "framework/comm/tree_sum.hpp"

#include <utility>

namespace kronlab::comm {
namespace {

void add(std::vector<double>& left, const std::vector<double>& right) {
  KRONLAB_EXPECTS(left.size() == right.size(), "arrays of {} and {} elements cannot be summed", left.size(),
                  right.size());
  for (std::size_t i = 0; i < left.size(); ++i) left[i] += right[i];
}

}  // namespace

void TreeSum::push(Index number, std::vector<double> values) { append({0, number, std::move(values)}); }

void TreeSum::append(Node node) {
  while (!nodes_.empty() && nodes_.back().level == node.level && nodes_.back().index % 2 == 0 &&
         nodes_.back().index + 1 == node.index) {
    add(nodes_.back().values, node.values);
    node = {node.level + 1, node.index / 2, std::move(nodes_.back().values)};
    nodes_.pop_back();
  }
  nodes_.push_back(std::move(node));
}

std::vector<double> TreeSum::collect(const Communicator& communicator, int owner) {
  constexpr int tag = 71;
  // merging two nodes can complete a parent whose sibling came before: `append` only looks at the end, and ranges
  // ascend
  if (communicator.rank() != owner) {
    const Index count = static_cast<Index>(nodes_.size());
    communicator.send_bytes(std::as_bytes(std::span(&count, 1)), owner, tag);
    for (const Node& node : nodes_) {
      const Index header[3] = {node.level, node.index, static_cast<Index>(node.values.size())};
      communicator.send_bytes(std::as_bytes(std::span(header)), owner, tag);
      communicator.send_bytes(std::as_bytes(std::span(node.values)), owner, tag);
    }
    nodes_.clear();
    return {};
  }
  std::vector<Node> own = std::exchange(nodes_, {});
  for (int rank = 0; rank < communicator.size(); ++rank) {
    if (rank == owner) {
      for (Node& node : own) append(std::move(node));
      continue;
    }
    Index count = 0;
    communicator.receive_bytes(std::as_writable_bytes(std::span(&count, 1)), rank, tag);
    for (Index i = 0; i < count; ++i) {
      Index header[3];
      communicator.receive_bytes(std::as_writable_bytes(std::span(header)), rank, tag);
      Node node{header[0], header[1], std::vector<double>(static_cast<std::size_t>(header[2]))};
      communicator.receive_bytes(std::as_writable_bytes(std::span(node.values)), rank, tag);
      append(std::move(node));
    }
  }
  if (nodes_.empty()) return {};
  std::vector<double> sum = std::move(nodes_.back().values);
  for (nodes_.pop_back(); !nodes_.empty(); nodes_.pop_back()) {
    add(nodes_.back().values, sum);
    sum = std::move(nodes_.back().values);
  }
  return sum;
}

}  // namespace kronlab::comm
