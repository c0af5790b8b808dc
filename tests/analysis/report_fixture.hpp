#pragma once

#include <sys/wait.h>

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <optional>
#include <string>

#include "framework/storage/run_store.hpp"
#include "tests/storage/bytes.hpp"
#include "tests/storage/sample_run.hpp"
#include "tests/support/test_data.hpp"

namespace kronlab::testing {

inline const std::string short_protocol = "token-perplexity window=1024 stride=1024 join=none average=tokens tail=keep";
inline const std::string other_protocol = "token-perplexity window=256 stride=256 join=none average=tokens tail=keep";

/// How `kronlab-report` ended and what it said.
struct Output {
  int exit_code = -1;
  std::string out;
  std::string err;
  bool has(const std::string& words) const {
    const bool found = out.find(words) != std::string::npos || err.find(words) != std::string::npos;
    if (!found) BOOST_TEST_MESSAGE("'" << words << "' is not in\n" << out << err);
    return found;
  }
};

inline void perplexity(storage::RunStore& run, double value, Index stage, const std::string& protocol, double error = 0.25) {
  Metric metric = sample_metric("eval/perplexity", value, stage);
  metric.dataset = "prose";
  metric.protocol = protocol;
  metric.standard_error = error;
  run.record(metric);
}

/// A finished run of one stage with two layers.
inline std::string finished_run(const std::string& store, storage::RunDescription description, double value,
                         const std::string& protocol = short_protocol) {
  auto run = storage::RunStore::create(store, description);
  run.set_state(storage::RunState::running);
  run.stage_started(-1, "dense");
  perplexity(run, 20.5, -1, protocol);
  Metric size = sample_metric("size/parameters", 134'515'008, -1);
  run.record(size);
  run.stage_finished(-1, 1.5);
  run.stage_started(0, "mlp");
  perplexity(run, value + 1.0, 0, protocol);  // superseded by the next
  perplexity(run, value, 0, protocol);
  size.stage = 0;
  size.value = 100'000'000;
  run.record(size);
  Metric bytes = sample_metric("size/stored_bytes", 4e8, 0);
  bytes.unit = "B";
  run.record(bytes);
  run.record_layer(sample_layer("layers.0.mlp.up_proj"));
  auto second = sample_layer("layers.1.mlp.up_proj");
  second.relative_error = 0.75;
  second.weighted_error = std::nullopt;
  run.record_layer(second);
  run.stage_finished(0, 10.0);
  run.record_artifact("config.toml", "configuration");
  run.set_state(storage::RunState::done);
  return run.id();
}

/// A store in a fresh folder, and the program that reads it.
struct Store {
  TemporaryFolder folder;
  std::string path = folder / "store";

  Output report(const std::string& arguments) const { return raw_report(arguments + " --store " + path); }
  Output raw_report(const std::string& arguments) const {
    const std::string program = std::string(std::getenv("KRONLAB_BINARY_DIR")) + "/bin/kronlab-report";
    const std::string out = folder / "out", err = folder / "err";
    const int status = std::system((program + " " + arguments + " >" + out + " 2>" + err).c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128, read_bytes(out), read_bytes(err)};
  }
};

inline storage::RunDescription labelled(const std::string& label, const std::string& terms) {
  auto description = sample_description(label);
  description.parameters = {{"stage.0.decompose.num_terms", terms}};
  return description;
}

}  // namespace kronlab::testing
