#pragma once

#include <string>

namespace kronlab::linalg {

/// What BLAS and LAPACK calls go to: version, options and the kind of core it chose.
std::string blas_library();
/// Version of oneDNN and the instructions that it uses on this CPU.
std::string onednn_library();

}  // namespace kronlab::linalg
