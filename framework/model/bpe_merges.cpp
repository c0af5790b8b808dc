#include "framework/model/bpe_merges.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <queue>

namespace kronlab::model {
namespace {

constexpr std::uint32_t kNoRank = ~std::uint32_t{0};
constexpr std::size_t kFew = 64;

/// Symbols as a doubly linked list in arrays; a symbol that was merged into its left neighbour is dead.
struct SymbolList {
  explicit SymbolList(const std::vector<TokenId>& symbols)
      : ids(symbols), previous(symbols.size()), next(symbols.size()) {
    for (std::size_t i = 0; i < symbols.size(); ++i) {
      previous[i] = static_cast<std::int32_t>(i) - 1;
      next[i] = i + 1 < symbols.size() ? static_cast<std::int32_t>(i) + 1 : -1;
    }
  }

  static constexpr TokenId kDead = -1;
  std::vector<TokenId> ids;
  std::vector<std::int32_t> previous;
  std::vector<std::int32_t> next;
};

struct Candidate {
  std::uint32_t rank = 0;
  std::int32_t position = 0;
  TokenId left = 0;
  TokenId right = 0;
  bool operator>(const Candidate& other) const {
    return rank != other.rank ? rank > other.rank : position > other.position;
  }
};

using CandidateQueue = std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>>;

}  // namespace

BpeMerges::BpeMerges(Index num_merges) {
  const std::size_t capacity = std::bit_ceil(2 * static_cast<std::size_t>(std::max<Index>(num_merges, 8)));
  slots_.resize(capacity);
  shift_ = 64 - std::countr_zero(capacity);
}

void BpeMerges::add(TokenId left, TokenId right, Merge merge) {
  const std::uint64_t pair = pair_of(left, right);
  std::size_t at = home(pair);
  while (slots_[at].pair != kEmpty && slots_[at].pair != pair) at = (at + 1) & (slots_.size() - 1);
  slots_[at] = {pair, merge};
}

const BpeMerges::Merge* BpeMerges::find(TokenId left, TokenId right) const {
  const std::uint64_t pair = pair_of(left, right);
  for (std::size_t at = home(pair); slots_[at].pair != kEmpty; at = (at + 1) & (slots_.size() - 1)) {
    if (slots_[at].pair == pair) return &slots_[at].merge;
  }
  return nullptr;
}

std::uint32_t BpeMerges::rank(TokenId left, TokenId right) const {
  const Merge* merge = find(left, right);
  return merge == nullptr ? kNoRank : merge->rank;
}

void BpeMerges::apply(std::vector<TokenId>& symbols) const {
  if (symbols.size() <= kFew) {
    apply_to_few(symbols);
  } else {
    apply_to_many(symbols);
  }
}

void BpeMerges::apply_to_few(std::vector<TokenId>& symbols) const {
  std::size_t size = symbols.size();
  if (size < 2) return;
  std::array<std::uint32_t, kFew> ranks;  // ranks[i]: of the pair (i, i + 1)
  for (std::size_t i = 0; i + 1 < size; ++i) ranks[i] = rank(symbols[i], symbols[i + 1]);
  while (size >= 2) {
    const auto best = std::min_element(ranks.begin(), ranks.begin() + static_cast<std::ptrdiff_t>(size - 1));
    if (*best == kNoRank) break;
    const auto at = static_cast<std::size_t>(best - ranks.begin());
    symbols[at] = find(symbols[at], symbols[at + 1])->merged;
    for (std::size_t i = at + 1; i + 1 < size; ++i) {
      symbols[i] = symbols[i + 1];
      ranks[i] = i + 2 < size ? ranks[i + 1] : kNoRank;
    }
    --size;
    if (at > 0) ranks[at - 1] = rank(symbols[at - 1], symbols[at]);
    if (at + 1 < size) ranks[at] = rank(symbols[at], symbols[at + 1]);
  }
  symbols.resize(size);
}

void BpeMerges::apply_to_many(std::vector<TokenId>& symbols) const {
  SymbolList list(symbols);
  CandidateQueue queue;
  const auto propose = [&](std::int32_t position) {
    if (position < 0 || list.next[static_cast<std::size_t>(position)] < 0) return;
    const TokenId left = list.ids[static_cast<std::size_t>(position)];
    const TokenId right = list.ids[static_cast<std::size_t>(list.next[static_cast<std::size_t>(position)])];
    const std::uint32_t pair_rank = rank(left, right);
    if (pair_rank != kNoRank) queue.push({pair_rank, position, left, right});
  };
  for (std::size_t i = 0; i + 1 < symbols.size(); ++i) propose(static_cast<std::int32_t>(i));
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    const auto at = static_cast<std::size_t>(top.position);
    const std::int32_t right_position = list.next[at];
    if (list.ids[at] != top.left || right_position < 0) continue;
    const auto right = static_cast<std::size_t>(right_position);
    if (list.ids[right] != top.right) continue;
    list.ids[at] = find(top.left, top.right)->merged;
    list.ids[right] = SymbolList::kDead;
    list.next[at] = list.next[right];
    if (list.next[at] >= 0) list.previous[static_cast<std::size_t>(list.next[at])] = top.position;
    propose(list.previous[at]);
    propose(top.position);
  }
  symbols.clear();
  for (std::size_t i = 0; i < list.ids.size(); ++i) {
    if (list.ids[i] != SymbolList::kDead) symbols.push_back(list.ids[i]);
  }
}

}  // namespace kronlab::model
