#pragma once

#include <string>
#include <vector>

#include "framework/storage/run_reader.hpp"

namespace kronlab::analysis {

/// A setting that not all runs have alike: "-" where a run does not have it.
struct SettingDifference {
  std::string path;                 ///< "stage.0.decompose.num_terms", counting stages from 0
  std::vector<std::string> values;  ///< one for each run
};
/// Of the resolved configurations, by path. @throws StorageError if a run's configuration cannot be read
std::vector<SettingDifference> setting_differences(const std::vector<storage::RunReader>& runs);

/// What a run's last evaluation on a text says against another run's.
struct PairedTest {
  std::string dataset;
  std::string protocol;
  std::string problem;  ///< why there is no test; then the rest is empty
  PairedDifference result;
};
/// One for each text and protocol that both runs were evaluated on with: the second run's loss minus the first's.
std::vector<PairedTest> paired_tests(const storage::RunReader& first, const storage::RunReader& second);

}  // namespace kronlab::analysis
