#pragma once

#include <filesystem>
#include <string>

#include "framework/base/hash.hpp"
#include "tests/support/environment.hpp"
#include "tests/support/test_data.hpp"

namespace kronlab::testing {

/// Shell scripts that stand before the programs of their names, for this process and those it starts.
class FakePrograms {
 public:
  void write(const std::string& name, const std::string& script) const {
    write_file_atomically(folder_ / name, "#!/bin/sh\n" + script + "\n");
    std::filesystem::permissions(folder_ / name, std::filesystem::perms::owner_all);
  }
  const std::filesystem::path& folder() const { return folder_.path(); }

 private:
  TemporaryFolder folder_;
  EnvironmentVariable path_{"PATH", folder_.path().string() + ":" + std::getenv("PATH")};
};

}  // namespace kronlab::testing
