#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace kronlab::fuzz {

/// What `kronlab check FILE` does with a file before it looks at a model: parse, include, sweep, every table of the
/// experiment. The file is made of `text`: a line "#== NAME" begins one that can be included, a line "#-- KEY=VALUE" is an
/// override of the command line.
///
/// Aborts with a message if an error has no place (file, line, column), or if a run that is read and written as TOML reads
/// back otherwise. Lets every exception but a ConfigError through.
void check_config_front(std::string_view text);

}  // namespace kronlab::fuzz

/// libFuzzer's entry.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
