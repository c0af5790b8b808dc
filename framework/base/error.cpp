#include "framework/base/error.hpp"

namespace kronlab {

ExitCode exit_code(const std::exception& error) {
  if (const auto* collective = dynamic_cast<const CollectiveError*>(&error)) {
    const auto cause = collective->cause();
    return cause == CollectiveError::Cause::config || cause == CollectiveError::Cause::data ? ExitCode::usage
                                                                                            : ExitCode::failed;
  }
  if (dynamic_cast<const ConfigError*>(&error) || dynamic_cast<const DataError*>(&error)) return ExitCode::usage;
  return ExitCode::failed;
}

namespace detail {

void contract_violation(const char* file, int line, const char* condition, const std::string& message) {
  throw ContractError(fmt::format("{}:{}: contract violated: {}: {}", file, line, condition, message));
}

}  // namespace detail
}  // namespace kronlab
