#pragma once

#include <sys/mount.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "tests/support/test_data.hpp"

namespace kronlab::testing {

/// A file system of `kilobytes` in memory, where this process may mount one.
class SmallFileSystem {
 public:
  explicit SmallFileSystem(int kilobytes) {
    const std::string options = "size=" + std::to_string(kilobytes) + "k";
    is_mounted_ = ::mount("none", folder_.path().c_str(), "tmpfs", 0, options.c_str()) == 0;
  }
  ~SmallFileSystem() {
    if (is_mounted_) ::umount2(folder_.path().c_str(), MNT_DETACH);
  }
  SmallFileSystem(const SmallFileSystem&) = delete;
  SmallFileSystem& operator=(const SmallFileSystem&) = delete;

  bool is_mounted() const { return is_mounted_; }
  bool make_read_only() const {
    return ::mount("none", folder_.path().c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) == 0;
  }
  const std::filesystem::path& path() const { return folder_.path(); }
  std::string operator/(const std::string& name) const { return folder_ / name; }
  /// Takes all space that is left.
  void fill() const {
    std::ofstream filler(folder_ / "filler", std::ios::binary);
    const std::string block(1024, 'x');
    while (filler.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) {
    }
  }
  void free() const { std::filesystem::remove(folder_.path() / "filler"); }

 private:
  TemporaryFolder folder_;
  bool is_mounted_ = false;
};

}  // namespace kronlab::testing
