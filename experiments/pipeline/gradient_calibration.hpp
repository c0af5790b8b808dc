#pragma once

#include <map>
#include <string>
#include <vector>

#include "decompositions/decomposer.hpp"
#include "framework/comm/communicator.hpp"
#include "framework/model/transformer.hpp"

namespace kronlab::experiments {

/// A layer of a block whose output gradients are wanted, and which ranks need them.
struct GradientRequest {
  Index block = 0;
  decompositions::GradientMoments kind = decompositions::GradientMoments::full;
  std::vector<int> owners;
};

/// Second moments S of the loss gradient in the outputs of layers, by name: Σ g g^T / tokens, [out, out], or its diagonal
/// [1, out]; g is the gradient of the sum over a window of -log p(next token) in the layer's output at one token.
///
/// A window is one micro-batch; S is summed in double in a fixed binary tree over the windows: bit-equal for any number
/// of ranks at a fixed number of threads. All layers are gathered in one forward and backward pass over the text: memory
/// grows with the layers, 8 out^2 bytes each for every open level of the tree. Collective.
/// @throws ContractError if there is no whole window
std::map<std::string, Matrix<double>> gradient_moments(const comm::Communicator& communicator, const model::Transformer& model,
                                                       const std::vector<std::int32_t>& ids, Index window, model::Precision precision,
                                                       const std::map<std::string, GradientRequest>& layers, const std::string& what);

}  // namespace kronlab::experiments
