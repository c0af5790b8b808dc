#include "distill/gradient_sum.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "framework/kernels/adamw.hpp"
#include "framework/kernels/dispatch.hpp"

namespace kronlab::distill {
namespace {

/// left += right.
template <class T>
void add(T* left, const T* right, Index count) {
#pragma omp parallel for simd schedule(static)
  for (Index i = 0; i < count; ++i) left[i] += right[i];
}

}  // namespace

GradientSum::GradientSum(const comm::Communicator& communicator, const model::Parameters& parameters, Index num_micro_batches)
    : communicator_(communicator),
      parameters_(parameters),
      num_micro_batches_(num_micro_batches),
      own_(micro_batches_of(communicator.rank())),
      next_(own_.begin),
      received_(parameters.buckets().size()),
      is_sent_(parameters.buckets().size(), 0),
      messages_(communicator) {
  KRONLAB_EXPECTS(num_micro_batches > 0, "a step of {} micro-batches", num_micro_batches);
  slots_.push_back({{}, std::make_unique<model::Gradients>(parameters)});
}

comm::Range GradientSum::micro_batches_of(int rank) const { return comm::block_range(num_micro_batches_, rank, communicator_.size()); }

std::vector<GradientSum::Node> GradientSum::nodes_of(comm::Range micro_batches) {
  std::vector<Node> nodes;
  for (Index i = micro_batches.begin; i < micro_batches.end; ++i) {
    Node node{0, i};
    while (!nodes.empty() && nodes.back().level == node.level && node.index % 2 == 1 && nodes.back().index + 1 == node.index) {
      node = {node.level + 1, node.index / 2};
      nodes.pop_back();
    }
    nodes.push_back(node);
  }
  return nodes;
}

model::GradientBucket GradientSum::piece(std::size_t bucket, int rank) const {
  const auto [begin, end] = parameters_.buckets()[bucket];
  const Index num_chunks = (end - begin + chunk - 1) / chunk;
  const auto own = comm::block_range(num_chunks, rank, communicator_.size());
  return {std::min(begin + own.begin * chunk, end), std::min(begin + own.end * chunk, end)};
}

std::vector<model::GradientBucket> GradientSum::pieces_of(int rank) const {
  std::vector<model::GradientBucket> pieces;
  for (std::size_t bucket = 0; bucket < received_.size(); ++bucket) {
    if (const auto own = piece(bucket, rank); own.end > own.begin) pieces.push_back(own);
  }
  return pieces;
}

model::Gradients& GradientSum::begin() {
  KRONLAB_EXPECTS(next_ < own_.end, "micro-batch {} of {} to {}", next_, own_.begin, own_.end);
  if (slots_.size() == num_open_) slots_.push_back({{}, std::make_unique<model::Gradients>(parameters_)});
  slots_[num_open_].node = {0, next_};
  slots_[num_open_].gradients->clear();
  return *slots_[num_open_].gradients;
}

/// Adds the current micro-batch, over a range of elements, to the open nodes that it completes; the slot of the result.
std::size_t GradientSum::merge(model::GradientBucket range) {
  std::size_t top = num_open_;
  Node node = slots_[top].node;
  while (top > 0 && slots_[top - 1].node.level == node.level && node.index % 2 == 1 && slots_[top - 1].node.index + 1 == node.index) {
    Tensor &left = slots_[top - 1].gradients->elements(), &right = slots_[top].gradients->elements();
    kernels::for_real_type(left.dtype(), [&]<class T>(T) {
      add(left.values<T>().data() + range.begin, right.values<T>().data() + range.begin, range.end - range.begin);
    });
    node = {node.level + 1, node.index / 2};
    --top;
  }
  return top;
}

void GradientSum::bucket_complete(std::size_t bucket) {
  if (next_ + 1 != own_.end) return;
  merge(parameters_.buckets()[bucket]);
  send_pieces(bucket);
  messages_.progress();
}

void GradientSum::end() {
  if (++next_ == own_.end) return;
  const std::size_t top = merge({0, parameters_.num_elements()});
  Node node = slots_[num_open_].node;
  for (std::size_t i = num_open_; i > top; --i) node = {node.level + 1, node.index / 2};
  slots_[top].node = node;
  num_open_ = top + 1;
}

std::span<std::byte> GradientSum::bytes(Tensor& elements, model::GradientBucket range) const {
  const Index width = size_of(elements.dtype());
  return {static_cast<std::byte*>(elements.view().data) + range.begin * width, static_cast<std::size_t>((range.end - range.begin) * width)};
}

void GradientSum::send_pieces(std::size_t bucket) {
  if (std::exchange(is_sent_[bucket], 1)) return;
  const int tag = static_cast<int>(bucket);
  const auto own = piece(bucket, communicator_.rank());
  const std::size_t num_bytes = bytes(total().elements(), own).size();
  const std::size_t num_nodes = nodes_of(own_).size();
  // the next rank first, so that not all ranks send to the same one
  for (int distance = 1; distance < communicator_.size(); ++distance) {
    const int from = (communicator_.rank() - distance + communicator_.size()) % communicator_.size();
    for (const Node& node : nodes_of(micro_batches_of(from))) {
      received_[bucket].push_back({from, node, std::vector<std::byte>(num_bytes)});
      messages_.receive(received_[bucket].back().elements, from, tag);
    }
    const int to = (communicator_.rank() + distance) % communicator_.size();
    for (std::size_t slot = 0; slot < num_nodes; ++slot) {
      messages_.send(bytes(slots_[slot].gradients->elements(), piece(bucket, to)), to, tag);
    }
  }
}

void GradientSum::finish() {
  KRONLAB_EXPECTS(next_ == own_.end, "micro-batch {} of {} to {} is missing", next_, own_.begin, own_.end);
  for (std::size_t bucket = 0; bucket < received_.size(); ++bucket) send_pieces(bucket);
  messages_.wait();
  for (std::size_t bucket = 0; bucket < received_.size(); ++bucket) {
    sum_piece(bucket);
    received_[bucket].clear();
    is_sent_[bucket] = 0;
  }
  next_ = own_.begin;
  num_open_ = 0;
}

/// Sums this rank's piece of a bucket over all ranks' nodes, in the sequence of the micro-batches.
void GradientSum::sum_piece(std::size_t bucket) {
  const auto own = piece(bucket, communicator_.rank());
  const Index count = own.end - own.begin;
  if (count == 0) return;
  kernels::for_real_type(total().elements().dtype(), [&]<class T>(T) {
    std::vector<std::pair<Node, T*>> open;
    const auto append = [&](Node node, T* values) {
      while (!open.empty() && open.back().first.level == node.level && node.index % 2 == 1 && open.back().first.index + 1 == node.index) {
        add(open.back().second, values, count);
        node = {node.level + 1, node.index / 2};
        values = open.back().second;
        open.pop_back();
      }
      open.emplace_back(node, values);
    };
    const auto own_nodes = nodes_of(own_);
    for (int rank = 0; rank < communicator_.size(); ++rank) {
      if (rank == communicator_.rank()) {
        for (std::size_t slot = 0; slot < own_nodes.size(); ++slot) {
          append(own_nodes[slot], slots_[slot].gradients->elements().template values<T>().data() + own.begin);
        }
      }
      for (auto& received : received_[bucket]) {
        if (received.rank == rank) append(received.node, reinterpret_cast<T*>(received.elements.data()));
      }
    }
    T* sum = open.back().second;
    for (open.pop_back(); !open.empty(); open.pop_back()) {
      add(open.back().second, sum, count);
      sum = open.back().second;
    }
    T* target = total().elements().template values<T>().data() + own.begin;
    if (sum != target) std::memmove(target, sum, static_cast<std::size_t>(count) * sizeof(T));
  });
}

double GradientSum::norm() const {
  std::vector<std::pair<Index, model::GradientBucket>> own;  // number of the chunk over all buckets, its elements
  Index num_chunks = 0;
  for (std::size_t bucket = 0; bucket < received_.size(); ++bucket) {
    const auto [begin, end] = parameters_.buckets()[bucket];
    const auto [first, last] = piece(bucket, communicator_.rank());
    for (Index at = first; at < last; at += chunk) own.push_back({num_chunks + (at - begin) / chunk, {at, std::min(at + chunk, end)}});
    num_chunks += (end - begin + chunk - 1) / chunk;
  }
  std::vector<double> sums(static_cast<std::size_t>(num_chunks));
  const Tensor& elements = slots_.front().gradients->elements();
  kernels::for_real_type(elements.dtype(), [&]<class T>(T) {
    const T* values = elements.values<T>().data();
#pragma omp parallel for schedule(static)
    for (std::size_t i = 0; i < own.size(); ++i) {
      const auto [begin, end] = own[i].second;
      sums[static_cast<std::size_t>(own[i].first)] = kernels::sum_of_squares(std::span<const T>(values + begin, static_cast<std::size_t>(end - begin)));
    }
  });
  communicator_.sum(std::span(sums));
  double total = 0;
  for (const double sum : sums) total += sum;
  return std::sqrt(total);
}

void GradientSum::all_gather(Tensor& elements) const {
  if (communicator_.size() == 1) return;
  for (std::size_t bucket = 0; bucket < received_.size(); ++bucket) {
    const auto [begin, end] = parameters_.buckets()[bucket];
    std::vector<Index> ends;
    for (int rank = 0; rank < communicator_.size(); ++rank) ends.push_back(piece(bucket, rank).end - begin);
    kernels::for_real_type(elements.dtype(), [&]<class T>(T) {
      communicator_.all_gather(elements.values<T>().subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)), ends);
    });
  }
}

Index GradientSum::num_arrays(comm::Range micro_batches) {
  Index most = 1;
  for (Index end = micro_batches.begin; end < micro_batches.end; ++end) {
    most = std::max(most, static_cast<Index>(nodes_of({micro_batches.begin, end}).size()) + 1);
  }
  return most;
}

}  // namespace kronlab::distill
