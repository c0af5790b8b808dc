#pragma once

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <string_view>

namespace kronlab::testing {

/// A new file: ext4 flushes one that is cut to nothing and written again, which takes milliseconds.
inline void write_bytes(const std::string& path, std::string_view bytes) {
  std::filesystem::remove(path);
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

inline std::string read_bytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The bytes of a value, as a little-endian file has them.
template <class T>
std::string bytes_of(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

/// Whether `work` throws an `Expected` whose message has `words`; tells what it found otherwise.
template <class Expected>
bool throws_with(const std::function<void()>& work, std::string_view words) {
  try {
    work();
  } catch (const Expected& error) {
    if (std::string_view(error.what()).find(words) != std::string_view::npos) return true;
    BOOST_TEST_MESSAGE("expected '" << words << "' in: " << error.what());
    return false;
  } catch (const std::exception& error) {
    BOOST_TEST_MESSAGE("another exception: " << error.what());
    return false;
  }
  BOOST_TEST_MESSAGE("nothing was thrown; expected '" << words << "'");
  return false;
}

}  // namespace kronlab::testing
