#include "framework/model/vocabulary.hpp"

namespace kronlab::model {

void Vocabulary::add(const std::string& piece, Index id) {
  if (id < 0 || id >= kIdLimit) {
    throw DataError(fmt::format("id {} of piece '{}' is out of range: expected 0 to {}", id, piece, kIdLimit - 1));
  }
  const auto [entry, is_new] = ids_.try_emplace(piece, static_cast<TokenId>(id));
  if (!is_new) {
    if (entry->second == id) return;
    throw DataError(fmt::format("piece '{}' has two ids: {} and {}", piece, entry->second, id));
  }
  if (id >= size()) pieces_.resize(static_cast<std::size_t>(id) + 1, nullptr);
  const std::string*& slot = pieces_[static_cast<std::size_t>(id)];
  if (slot != nullptr) throw DataError(fmt::format("id {} is used twice: by '{}' and by '{}'", id, *slot, piece));
  slot = &entry->first;
}

std::optional<TokenId> Vocabulary::find(std::string_view piece) const {
  const auto entry = ids_.find(piece);
  return entry == ids_.end() ? std::nullopt : std::optional(entry->second);
}

}  // namespace kronlab::model
