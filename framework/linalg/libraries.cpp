#include "framework/linalg/libraries.hpp"

#include <cblas.h>
#include <dnnl.h>
#include <fmt/format.h>

namespace kronlab::linalg {

std::string blas_library() { return fmt::format("{}; core {}", openblas_get_config(), openblas_get_corename()); }

std::string onednn_library() {
  const auto* version = dnnl_version();
  return fmt::format("{}.{}.{}, instruction set {:#x}", version->major, version->minor, version->patch,
                     static_cast<int>(dnnl_get_effective_cpu_isa()));
}

}  // namespace kronlab::linalg
