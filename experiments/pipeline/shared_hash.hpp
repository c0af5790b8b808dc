#pragma once

#include <string>
#include <vector>

#include "framework/comm/communicator.hpp"
#include "framework/storage/model_files.hpp"

namespace kronlab::experiments {

/// SHA-256 of each file's content, in the sequence of the paths, which root's are; the files are shared among the ranks by
/// size. Collective. @throws CollectiveError if one cannot be read
std::vector<std::string> hashes_of_files(const comm::Communicator& communicator, std::vector<std::string> paths);

/// storage::ModelFiles::hash. Collective.
std::string hash_of_model(const comm::Communicator& communicator, const storage::ModelFiles& model);

}  // namespace kronlab::experiments
