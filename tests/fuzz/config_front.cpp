#include "tests/fuzz/config_front.hpp"

#include <cstdio>
#include <cstdlib>
#include <map>

#include "experiments/pipeline/experiment_spec.hpp"
#include "framework/config/read_toml_file.hpp"

namespace kronlab::fuzz {
namespace {

constexpr std::string_view separator = "#== ", override_line = "#-- ";
constexpr std::size_t num_runs_read = 8;

[[noreturn]] void give_up(const std::string& what) {
  std::fprintf(stderr, "the TOML front: %s\n", what.c_str());
  std::abort();
}

struct Input {
  std::map<std::string, std::string> files;
  std::vector<std::string> overrides;
};

Input input_from(std::string_view text) {
  Input input;
  std::string file = "main.toml";
  input.files[file];
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size() - 1) + 1;
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end);
    const std::string_view words = line.ends_with('\n') ? line.substr(0, line.size() - 1) : line;
    if (words.starts_with(separator)) {
      input.files[file = words.substr(separator.size())];
    } else if (words.starts_with(override_line)) {
      input.overrides.emplace_back(words.substr(override_line.size()));
    } else {
      input.files[file] += line;
    }
  }
  return input;
}

/// Where something is wrong: the name of a file or of the command line's option.
bool has_place(const std::string& message, const Input& input) {
  if (message.starts_with("--set ")) return true;
  for (const auto& [name, text] : input.files) {
    if (message.starts_with(name + ":")) return true;
  }
  return false;
}

/// What was read and written is read to the same again.
void expect_stable(const experiments::ExperimentSpec& spec) {
  const std::string written = config::to_toml(spec.resolved);
  const auto again = experiments::ExperimentSpec::read(config::parse_toml(written, "resolved.toml"), "/elsewhere");
  if (config::to_text(again.resolved) != config::to_text(spec.resolved)) give_up("what is resolved reads back otherwise:\n" + written);
  if (experiments::identity_of(again.resolved) != experiments::identity_of(spec.resolved)) give_up("another identity after writing:\n" + written);
}

void read_runs(const Input& input) {
  const auto file = config::read_toml_file("main.toml", [&](const std::string& path) {
    const auto found = input.files.find(path);
    if (found == input.files.end()) throw StorageError("cannot open '" + path + "'");
    return found->second;
  });
  std::vector<config::Override> overrides;
  for (const auto& text : input.overrides) overrides.push_back(config::parse_override(text));
  const auto runs = config::expand_sweep(file, overrides);
  if (runs.empty()) give_up("a file without runs");
  for (std::size_t i = 0; i < std::min(runs.size(), num_runs_read); ++i) {
    experiments::ExperimentSpec spec;
    try {
      spec = experiments::ExperimentSpec::read(runs[i].config, "/folder");
    } catch (const ConfigError&) {
      if (i == 0) throw;
      continue;
    }
    expect_stable(spec);
  }
}

}  // namespace

void check_config_front(std::string_view text) {
  const Input input = input_from(text);
  try {
    read_runs(input);
  } catch (const ConfigError& error) {
    if (!has_place(error.what(), input)) give_up(std::string("an error without a place: ") + error.what());
  }
}

}  // namespace kronlab::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  kronlab::fuzz::check_config_front({reinterpret_cast<const char*>(data), size});
  return 0;
}
