#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <vector>

#include "framework/model/tokenizer.hpp"

namespace kronlab::model {

/// Remembers the ids of short words. At most 14 MB: when it is full it forgets everything and starts again.
class WordCache {
 public:
  static constexpr std::size_t kMaxWordBytes = 15;

  /// A word of at most kMaxWordBytes as a value that can be compared at once: its bytes, zeros, its length.
  struct Key {
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    bool operator==(const Key&) const = default;
  };

  /// `readable`: how many bytes may be read from the word's first one on, at least its size.
  static Key key_of(std::string_view word, std::size_t readable) {
    unsigned char bytes[16] = {};
    if (readable >= sizeof bytes) [[likely]] {
      std::memcpy(bytes, word.data(), sizeof bytes);
    } else {
      std::memcpy(bytes, word.data(), word.size());
    }
    Key key;
    std::memcpy(&key.low, bytes, 8);
    std::memcpy(&key.high, bytes + 8, 8);
    const std::size_t n = word.size();
    if (n < 8) key.low &= (std::uint64_t{1} << 8 * n) - 1;
    key.high &= n <= 8 ? 0 : (std::uint64_t{1} << 8 * (n - 8)) - 1;
    key.high |= static_cast<std::uint64_t>(n) << 56;
    return key;
  }

  WordCache() : slots_(kFirstSlots) {}

  /// Appends the word's ids to `ids`, if they are known.
  bool append(const Key& key, std::vector<TokenId>& ids) const {
    for (std::size_t at = home(key);; at = (at + 1) & (slots_.size() - 1)) {
      const Slot& slot = slots_[at];
      if (slot.key == key) {
        if (slot.count == 1) {
          ids.push_back(static_cast<TokenId>(slot.id_or_offset));
        } else {
          const auto first = pool_.begin() + slot.id_or_offset;
          ids.insert(ids.end(), first, first + slot.count);
        }
        return true;
      }
      if (slot.key.high == 0) return false;
    }
  }

  /// @pre the word is not there yet, and word_ids is not empty
  void insert(const Key& key, std::span<const TokenId> word_ids);

 private:
  static constexpr std::size_t kFirstSlots = std::size_t{1} << 8;
  static constexpr std::size_t kMaxSlots = std::size_t{1} << 18;

  struct Slot {
    Key key;  // of a word, so high holds its length; zero: free
    std::int32_t id_or_offset = 0;
    std::int32_t count = 0;
  };

  std::size_t home(const Key& key) const {
    const std::uint64_t mixed = (key.low ^ std::rotl(key.high * 0xC2B2AE3D27D4EB4Fu, 31)) * 0x9E3779B97F4A7C15u;
    return (mixed ^ mixed >> 32) & (slots_.size() - 1);
  }
  void place(const Slot& slot);
  void make_room();

  std::vector<Slot> slots_;
  std::vector<TokenId> pool_;  // ids of the words that have more than one
  std::size_t num_words_ = 0;
};

/// Lends caches, so that every thread has one of its own while it encodes and what was learnt is kept.
class WordCachePool {
 public:
  class Loan {
   public:
    explicit Loan(WordCachePool& pool) : pool_(pool), cache_(pool.take()) {}
    ~Loan() { pool_.put_back(std::move(cache_)); }
    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;
    WordCache& operator*() { return *cache_; }

   private:
    WordCachePool& pool_;
    std::unique_ptr<WordCache> cache_;
  };

  WordCachePool() { idle_.reserve(kMaxIdle); }

 private:
  static constexpr std::size_t kMaxIdle = 64;

  std::unique_ptr<WordCache> take();
  void put_back(std::unique_ptr<WordCache> cache) noexcept;

  std::mutex mutex_;
  std::vector<std::unique_ptr<WordCache>> idle_;
};

}  // namespace kronlab::model
