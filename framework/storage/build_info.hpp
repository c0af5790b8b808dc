#pragma once

namespace kronlab::storage::build_info {

// Written at every build by build_info.cmake; "unknown" outside a git checkout.
extern const char* const commit;
extern const char* const dirty;        ///< "yes" if tracked files differ from the commit, else "no"
extern const char* const diff_sha256;  ///< of `git diff HEAD`; empty if there is no difference
extern const char* const compiler;
extern const char* const build_type;
extern const char* const flags;

}  // namespace kronlab::storage::build_info
