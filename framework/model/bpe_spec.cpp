#include "framework/model/bpe_spec.hpp"

namespace kronlab::model {
namespace {

TokenId piece_of_merge(const BpeSpec& spec, const std::string& piece, std::size_t rank) {
  const std::optional<TokenId> id = spec.vocabulary.find(piece);
  if (id) return *id;
  throw DataError(fmt::format("{}: merge {} ('{}' with '{}') needs the piece '{}', which is not in the vocabulary",
                              spec.origin, rank, spec.merges[rank].first, spec.merges[rank].second, piece));
}

}  // namespace

BpeMerges merges_of(const BpeSpec& spec) {
  BpeMerges merges(static_cast<Index>(spec.merges.size()));
  for (std::size_t rank = 0; rank < spec.merges.size(); ++rank) {
    const auto& [left, right] = spec.merges[rank];
    const TokenId left_id = piece_of_merge(spec, left, rank);
    const TokenId right_id = piece_of_merge(spec, right, rank);
    merges.add(left_id, right_id, {static_cast<std::uint32_t>(rank), piece_of_merge(spec, left + right, rank)});
  }
  return merges;
}

}  // namespace kronlab::model
