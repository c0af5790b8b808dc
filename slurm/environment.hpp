#pragma once

#include <string>

namespace kronlab::slurm {

/// What a program runs in at this moment, for the record: modules, search paths, its version, hash and libraries.
/// Variables may hold secrets, so only those that choose programs and libraries are written down.
std::string environment_text(const std::string& program);

}  // namespace kronlab::slurm
