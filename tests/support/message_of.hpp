#pragma once

#include <string>

#include "framework/base/error.hpp"

namespace kronlab::testing {

/// The message of the error that `action` throws.
template <class Action>
std::string message_of(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

}  // namespace kronlab::testing
