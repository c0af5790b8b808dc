#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "framework/base/types.hpp"

namespace kronlab::slurm {

/// A duration as Slurm writes it, in seconds: "90" (minutes), "90:00", "02:30:00", "1-12", "1-12:30", "1-12:30:00".
/// Nothing if it is none of these.
std::optional<Index> parse_time(std::string_view text);
/// "2-12:30:00", "02:30:00".
std::string time_text(Index seconds);

/// An amount of memory as Slurm writes it, in MiB: "4000" or "4000M" (MiB), "16G", "2T", "512K". Nothing if it is none of these.
std::optional<Index> parse_memory(std::string_view text);
/// "1.5 GiB", "300 MiB".
std::string memory_text(Index mib);

}  // namespace kronlab::slurm
