#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "framework/model/tokenizer.hpp"

namespace kronlab::model {

/// Pieces of text and their ids, one to one. Not every id up to the largest needs a piece.
class Vocabulary {
 public:
  Vocabulary() = default;
  Vocabulary(Vocabulary&&) = default;
  Vocabulary& operator=(Vocabulary&&) = default;

  /// Larger than any real vocabulary; bounds the memory that a wrong id can ask for.
  static constexpr Index kIdLimit = Index{1} << 22;

  /// Adding a pair that is already there changes nothing.
  /// @throws DataError if the id is not in 0 .. kIdLimit-1, or the id or the piece is already used otherwise
  void add(const std::string& piece, Index id);

  std::optional<TokenId> find(std::string_view piece) const;
  /// Null for an id that no piece has. @pre 0 <= id < size()
  const std::string* piece(TokenId id) const { return pieces_[static_cast<std::size_t>(id)]; }
  /// One more than the largest id.
  Index size() const { return static_cast<Index>(pieces_.size()); }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };

  // Nodes of the map do not move, so the pointers in `pieces_` stay good.
  std::unordered_map<std::string, TokenId, Hash, std::equal_to<>> ids_;
  std::vector<const std::string*> pieces_;
};

}  // namespace kronlab::model
