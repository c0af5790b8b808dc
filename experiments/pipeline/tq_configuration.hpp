#pragma once

#include <string>
#include <string_view>

namespace kronlab::experiments {

/// The experiment, as TOML with comments, that a configuration file of TQCompressor describes.
///
///   layers:
///     transformer.wte:              # [vocabulary, width] = A [vocabulary, width / d] ⊗ B [1, d]
///       d: 2
///       n_iter: 5
///       q_num: 0                    # the step
///       use_p: True                 # whether the inputs of a layer, or an embedding's dimensions, are permuted
///       use_q: True                 # whether its outputs are
///     transformer.wte.embedding:    # A once more, with the same keys
///     transformer.h.1.mlp.c_fc:     # r terms for the weight as GPT-2 stores it: [m1 m2 in, n1 n2 out]
///       r: 4
///       m1: 384
///       ...                         # n1, m2, n2, and the keys above but d
///     transformer.h.1.attn:         # query, key and value, each like a layer of its own
///
/// Weights here are [out, in]: `left` is [n1, m1], `right` [n2, m2]. What the file leaves open - the search, the
/// training after each step, the head, the data - is said in the comments.
///
/// `model` is put into the result as the path of the model. Source of the format: the released model's repository,
/// config/config.yaml and how it is read there (Abronin et al., arXiv:2401.16367).
///
/// @throws ConfigError with file, line and column on what parse_yaml refuses, an unknown key or layer, a value
/// out of range, a factor of an embedding that no step before has made, or permutations of inputs alone where the
/// outputs are grouped too and the other way round, which no search here is bound to
std::string experiment_of_tq(std::string_view text, const std::string& file, const std::string& model);

}  // namespace kronlab::experiments
