#pragma once

#include <string>

#include "experiments/pipeline/model_access.hpp"
#include "framework/model/token_stream.hpp"

namespace kronlab::experiments {

/// The ids of a whole text file: from STORE/cache/tokens, else tokenised on root and kept there; mapped into memory on
/// all ranks, so that ranks of one machine share them. Collective.
///
/// `name` is the stream's, for messages; data_hash: SHA-256 of the file. A file of the cache is named KEY.tokens with
/// KEY = SHA-256 over data_hash, the tokenizer's hash and the version of the format; it is whole or not there. Root
/// reads it whole; one that is damaged or another's is made again after a warning. Texts are encoded in pieces
/// (model::encode_in_pieces), so that memory does not grow with the text. The cache may be deleted at any time between
/// runs.
///
/// Format, little-endian: the magic "KRTOKENS", the version and the bytes of an id (2 where the vocabulary allows, else
/// 4) as 32-bit numbers, the number of ids as a 64-bit number, KEY and the SHA-256 of the ids as 64 hexadecimal digits
/// each; then the ids.
///
/// @throws CollectiveError as Tokenizer::encode, if the text is empty, is not the one of data_hash or has an id that is
/// not in the model's vocabulary (data), or if the text cannot be read or the cache not be written (environment)
model::TokenStream cached_tokens(const comm::Communicator& communicator, const std::string& store_path,
                                 const ModelAccess& model, const std::string& name, const std::string& path,
                                 const std::string& data_hash);

}  // namespace kronlab::experiments
