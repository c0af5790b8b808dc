#include "framework/model/token_stream.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

namespace kronlab::model {
namespace {

/// Of a copy of the ids.
std::shared_ptr<const std::uint32_t> shared_copy(const std::vector<TokenId>& ids) {
  auto copy = std::make_shared<std::vector<std::uint32_t>>(ids.begin(), ids.end());
  const std::uint32_t* first = copy->data();
  return {std::move(copy), first};
}

}  // namespace

TokenStream::TokenStream(std::string name, std::shared_ptr<const std::uint16_t> ids, Index num_tokens, Index vocab_size)
    : name_(std::move(name)), ids_(std::move(ids)), num_tokens_(num_tokens), vocab_size_(vocab_size) {}

TokenStream::TokenStream(std::string name, std::shared_ptr<const std::uint32_t> ids, Index num_tokens, Index vocab_size)
    : name_(std::move(name)), ids_(std::move(ids)), num_tokens_(num_tokens), vocab_size_(vocab_size) {}

TokenStream::TokenStream(std::string name, const std::vector<TokenId>& ids, Index vocab_size)
    : TokenStream(std::move(name), shared_copy(ids), static_cast<Index>(ids.size()), vocab_size) {}

Index TokenStream::num_windows(Index length) const {
  KRONLAB_EXPECTS(length >= 1, "text '{}': a window of {} tokens", name_, length);
  if (num_tokens_ < length) {
    throw DataError(
        fmt::format("text '{}' has {} tokens, expected at least one window of {}", name_, num_tokens_, length));
  }
  return num_tokens_ / length;
}

void TokenStream::window(Index index, std::span<TokenId> out) const {
  const auto length = static_cast<Index>(out.size());
  KRONLAB_EXPECTS(length >= 1 && index >= 0 && index < num_tokens_ / length,
                  "text '{}': window {} of {} tokens, {} tokens in all", name_, index, length, num_tokens_);
  const std::uint32_t largest = std::visit(
      [&](const auto& ids) {
        const auto* from = ids.get() + index * length;
        std::uint32_t most = 0;
        for (Index i = 0; i < length; ++i) {
          most = std::max<std::uint32_t>(most, from[i]);
          out[static_cast<std::size_t>(i)] = static_cast<TokenId>(from[i]);
        }
        return most;
      },
      ids_);
  if (largest >= vocab_size_) {
    throw DataError(fmt::format("text '{}': id {} in window {} of {} tokens, but the vocabulary has {} ids", name_,
                                largest, index, length, vocab_size_));
  }
}

void TokenStream::expect_in_vocabulary() const {
  const std::uint32_t largest = std::visit(
      [&](const auto& ids) {
        std::uint32_t most = 0;
        for (Index i = 0; i < num_tokens_; ++i) most = std::max<std::uint32_t>(most, ids.get()[i]);
        return most;
      },
      ids_);
  if (num_tokens_ > 0 && largest >= vocab_size_) {
    throw DataError(fmt::format("text '{}': id {} among {} tokens, but the vocabulary has {} ids", name_, largest,
                                num_tokens_, vocab_size_));
  }
}

WindowSplit split(Index num_windows, Index num_held_out) {
  KRONLAB_EXPECTS(num_held_out >= 0 && num_held_out <= num_windows, "{} of {} windows cannot be held out", num_held_out,
                  num_windows);
  WindowSplit result;
  for (Index window = 0; window < num_windows; ++window) {
    const auto k = static_cast<Index>(result.held_out.size());
    const bool is_held_out = k < num_held_out && window == (2 * k + 1) * num_windows / (2 * num_held_out);
    (is_held_out ? result.held_out : result.training).push_back(window);
  }
  return result;
}

WindowSequence::WindowSequence(std::vector<WindowSource> sources, RandomStream random) {
  KRONLAB_EXPECTS(!sources.empty(), "a sequence of windows of no source");
  std::set<std::string> names;
  double sum = 0;
  for (const auto& source : sources) {
    KRONLAB_EXPECTS(names.insert(source.name).second, "two sources of windows are named '{}'", source.name);
    KRONLAB_EXPECTS(source.num_windows > source.num_held_out, "source '{}': {} windows, {} of them held out",
                    source.name, source.num_windows, source.num_held_out);
    KRONLAB_EXPECTS(source.weight > 0 && std::isfinite(source.weight), "source '{}': weight {} must be positive",
                    source.name, source.weight);
    sum += source.weight;
  }
  for (const auto& source : sources) {
    walks_.emplace_back(random.child(source.name).child("epoch"), source.weight / sum,
                        split(source.num_windows, source.num_held_out).training);
  }
}

std::size_t WindowSequence::next_source() const {
  std::size_t best = 0;
  double largest = -std::numeric_limits<double>::infinity();
  for (std::size_t s = 0; s < walks_.size(); ++s) {
    // fma, so that the rounding, and with it who wins a tie, is that of every machine
    const double behind =
        std::fma(walks_[s].weight, static_cast<double>(next_ + 1), -static_cast<double>(walks_[s].taken));
    if (behind > largest) largest = behind, best = s;
  }
  return best;
}

void WindowSequence::walk_to(Index i) {
  KRONLAB_EXPECTS(i >= 0, "window {} of a sequence", i);
  if (i < next_) {
    next_ = 0;
    for (Walk& walk : walks_) walk.taken = 0;
  }
  for (; next_ < i; ++next_) ++walks_[next_source()].taken;
}

WindowPlace WindowSequence::at(Index i) {
  walk_to(i);
  const std::size_t source = next_source();
  Walk& walk = walks_[source];
  const auto length = static_cast<Index>(walk.windows.size());
  const Index epoch = walk.taken / length;
  if (epoch != walk.epoch) {
    walk.order = walk.random.child(static_cast<std::uint64_t>(epoch)).permutation(length);
    walk.epoch = epoch;
  }
  const Index drawn = walk.order[static_cast<std::size_t>(walk.taken % length)];
  return {static_cast<Index>(source), walk.windows[static_cast<std::size_t>(drawn)]};
}

double WindowSequence::epochs(Index source, Index i) {
  KRONLAB_EXPECTS(source >= 0 && source < static_cast<Index>(walks_.size()), "source {} of {}", source, walks_.size());
  walk_to(i);
  const Walk& walk = walks_[static_cast<std::size_t>(source)];
  return static_cast<double>(walk.taken) / static_cast<double>(walk.windows.size());
}

}  // namespace kronlab::model
