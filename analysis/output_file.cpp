#include "analysis/output_file.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "framework/base/error.hpp"

namespace kronlab::analysis {

OutputFile::OutputFile(const std::filesystem::path& path)
    : path_(path), temporary_(fmt::format("{}.{}.tmp", path.string(), ::getpid())), file_(std::fopen(temporary_.c_str(), "wb")) {
  if (!file_) fail();
}

OutputFile::~OutputFile() {
  if (!file_) return;
  std::fclose(file_);
  ::unlink(temporary_.c_str());
}

void OutputFile::fail() const { throw StorageError(fmt::format("cannot write '{}': {}", path_.string(), std::strerror(errno))); }

void OutputFile::write(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), file_) != text.size()) fail();
}

void OutputFile::finish() {
  if (std::fflush(file_) != 0) fail();
  const bool is_closed = std::fclose(std::exchange(file_, nullptr)) == 0;
  if (is_closed && std::rename(temporary_.c_str(), path_.c_str()) == 0) return;
  const int reason = errno;
  ::unlink(temporary_.c_str());
  errno = reason;
  fail();
}

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string cell = "\"";
  for (const char c : text) cell += c == '"' ? std::string("\"\"") : std::string(1, c);
  return cell + "\"";
}

}  // namespace kronlab::analysis
