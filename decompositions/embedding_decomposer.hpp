#pragma once

#include <memory>
#include <vector>

#include "decompositions/decomposer.hpp"
#include "decompositions/mpo_size.hpp"

namespace kronlab::decompositions {

/// A table of embeddings [vocabulary, d] by tensor trains, looked up without rebuilding the table.
///
/// `table`: the whole table as a matrix-product operator over factors of the vocabulary and of d (mpo.hpp). A vocabulary
/// that does not factor is padded with rows of zeros, up to the next one that does; padding is in the size.
/// `token`: every row a tensor train over factors of d by itself (token_trains.hpp).
///
/// TensorGPT: Xu et al., 2307.00526.
struct TensorTrainEmbeddingOptions {
  enum class Form { table, token };
  Form form = Form::table;
  std::vector<Index> row_factors;  ///< of the vocabulary, their product at least that; empty: automatic. For `table` only
  std::vector<Index> col_factors;  ///< of d; empty: automatic
  std::optional<Index> num_sites;  ///< of automatic factors; 3 where nothing says otherwise
  BondSize size;
};
std::unique_ptr<Decomposer> make_tensor_train_embedding_decomposer(const TensorTrainEmbeddingOptions& options);

}  // namespace kronlab::decompositions
