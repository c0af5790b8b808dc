#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>

namespace kronlab {

/// Base of everything kronlab throws. The message says what was expected, what was found and where it came from.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A bug: a precondition of a public function does not hold.
class ContractError : public Error {
 public:
  using Error::Error;
};

/// The user's configuration is wrong (exit code 2).
class ConfigError : public Error {
 public:
  using Error::Error;
};

/// The user's data are wrong: a model file, a tokenizer, a text (exit code 2).
class DataError : public Error {
 public:
  using Error::Error;
};

/// A file, a database or the disk failed (exit code 1).
class StorageError : public Error {
 public:
  using Error::Error;
};

/// An MPI call failed (exit code 1).
class MpiError : public Error {
 public:
  using Error::Error;
};

/// A configuration error, data error, ... on at least one rank, thrown with the same text on all ranks.
class CollectiveError : public Error {
 public:
  enum class Cause { contract, config, data, environment };
  CollectiveError(Cause cause, const std::string& message) : Error(message), cause_(cause) {}
  Cause cause() const { return cause_; }

 private:
  Cause cause_;
};

/// Work stopped because a signal asked for it, after a checkpoint from which it can go on (exit code 75). Thrown on all ranks.
class Interrupted : public Error {
 public:
  using Error::Error;
};

/// Exit codes of every program: 0 done, 1 some run failed or the environment did, 2 configuration or data,
/// 75 stopped at a time limit after a checkpoint.
enum class ExitCode : int { done = 0, failed = 1, usage = 2, checkpointed = 75 };

/// The exit code that belongs to an exception.
ExitCode exit_code(const std::exception& error);

namespace detail {
[[noreturn]] void contract_violation(const char* file, int line, const char* condition, const std::string& message);
}

/// A precondition, checked in every build: KRONLAB_EXPECTS(rows > 0, "svd: rows ({}) must be positive", rows).
#define KRONLAB_EXPECTS(condition, ...)                                                                      \
  do {                                                                                                       \
    if (!(condition)) [[unlikely]]                                                                           \
      ::kronlab::detail::contract_violation(__FILE__, __LINE__, #condition, ::fmt::format(__VA_ARGS__));     \
  } while (false)

}  // namespace kronlab
