#pragma once

#include <cblas.h>

namespace kronlab::linalg {

/// OpenBLAS, and LAPACK with it, stays on the calling thread: threads are OpenMP's. Called before each use; free after
/// the first.
inline void keep_blas_single_threaded() {
  static const bool once = (openblas_set_num_threads(1), true);
  (void)once;
}

}  // namespace kronlab::linalg
