#include "framework/base/hash.hpp"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

namespace kronlab {

struct Sha256::Context {
  EVP_MD_CTX* handle = EVP_MD_CTX_new();
  ~Context() { EVP_MD_CTX_free(handle); }
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  KRONLAB_EXPECTS(context_->handle && EVP_DigestInit_ex(context_->handle, EVP_sha256(), nullptr) == 1,
                  "OpenSSL could not start SHA-256");
}

Sha256::~Sha256() = default;

void Sha256::update(std::span<const std::byte> bytes) { EVP_DigestUpdate(context_->handle, bytes.data(), bytes.size()); }

void Sha256::update(std::string_view text) { EVP_DigestUpdate(context_->handle, text.data(), text.size()); }

std::string Sha256::hex_digest() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned size = 0;
  EVP_DigestFinal_ex(context_->handle, digest.data(), &size);
  std::string hex;
  for (unsigned i = 0; i < size; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

std::string sha256(std::string_view bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.hex_digest();
}

namespace {

/// A file descriptor that closes itself.
struct File {
  int descriptor;
  ~File() {
    if (descriptor >= 0) ::close(descriptor);
  }
};

[[noreturn]] void throw_errno(const char* action, const std::string& path) {
  throw StorageError(fmt::format("cannot {} '{}': {}", action, path, std::strerror(errno)));
}

template <class Consume>
void for_each_chunk(const std::string& path, Consume consume) {
  const File file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.descriptor < 0) throw_errno("open", path);
  std::vector<char> chunk(1 << 20);
  while (true) {
    const ssize_t n = ::read(file.descriptor, chunk.data(), chunk.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_errno("read", path);
    if (n == 0) return;
    consume(std::string_view(chunk.data(), static_cast<std::size_t>(n)));
  }
}

}  // namespace

std::string sha256_of_file(const std::string& path) {
  Sha256 hash;
  for_each_chunk(path, [&](std::string_view chunk) { hash.update(chunk); });
  return hash.hex_digest();
}

std::string read_text_file(const std::string& path) {
  std::string content;
  for_each_chunk(path, [&](std::string_view chunk) { content += chunk; });
  return content;
}

void write_file_atomically(const std::string& path, std::string_view content) {
  const std::string temporary = fmt::format("{}.{}.tmp", path, ::getpid());
  const auto fail = [&](const char* action) {
    const int reason = errno;
    ::unlink(temporary.c_str());
    errno = reason;
    throw_errno(action, path);
  };
  {
    const File file{::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)};
    if (file.descriptor < 0) throw_errno("create", temporary);
    for (std::size_t written = 0; written < content.size();) {
      const ssize_t n = ::write(file.descriptor, content.data() + written, content.size() - written);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail("write");
      written += static_cast<std::size_t>(n);
    }
    if (::fsync(file.descriptor) != 0) fail("flush");
  }
  if (std::rename(temporary.c_str(), path.c_str()) != 0) fail("rename to");
}

}  // namespace kronlab
