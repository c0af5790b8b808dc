#pragma once

namespace kronlab::analysis {

/// The content of published.toml.
extern const char* const published_text;

}  // namespace kronlab::analysis
