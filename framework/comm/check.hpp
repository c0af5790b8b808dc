#pragma once

#include <mpi.h>

#include <string>

#include "framework/base/error.hpp"

namespace kronlab::comm {

/// @throws MpiError with the call's name and the system's text unless `code` is success
inline void check(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw MpiError(fmt::format("{}: {}", call, std::string(text, static_cast<std::size_t>(length))));
}

}  // namespace kronlab::comm
