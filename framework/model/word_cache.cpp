#include "framework/model/word_cache.hpp"

#include <algorithm>
#include <utility>

namespace kronlab::model {

void WordCache::insert(const Key& key, std::span<const TokenId> word_ids) {
  if (2 * (num_words_ + 1) > slots_.size()) make_room();
  Slot slot{key, word_ids[0], static_cast<std::int32_t>(word_ids.size())};
  if (word_ids.size() > 1) {
    slot.id_or_offset = static_cast<std::int32_t>(pool_.size());
    pool_.insert(pool_.end(), word_ids.begin(), word_ids.end());
  }
  place(slot);
  ++num_words_;
}

void WordCache::place(const Slot& slot) {
  std::size_t at = home(slot.key);
  while (slots_[at].key.high != 0) at = (at + 1) & (slots_.size() - 1);
  slots_[at] = slot;
}

void WordCache::make_room() {
  if (slots_.size() == kMaxSlots) {
    std::fill(slots_.begin(), slots_.end(), Slot{});
    pool_.clear();
    num_words_ = 0;
    return;
  }
  const std::vector<Slot> words = std::exchange(slots_, std::vector<Slot>(4 * slots_.size()));
  for (const Slot& slot : words) {
    if (slot.key.high != 0) place(slot);
  }
}

std::unique_ptr<WordCache> WordCachePool::take() {
  const std::lock_guard lock(mutex_);
  if (idle_.empty()) return std::make_unique<WordCache>();
  std::unique_ptr<WordCache> cache = std::move(idle_.back());
  idle_.pop_back();
  return cache;
}

void WordCachePool::put_back(std::unique_ptr<WordCache> cache) noexcept {
  const std::lock_guard lock(mutex_);
  if (idle_.size() < kMaxIdle) idle_.push_back(std::move(cache));
}

}  // namespace kronlab::model
