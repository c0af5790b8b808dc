#include "experiments/pipeline/token_cache.hpp"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include "framework/base/hash.hpp"
#include "framework/base/progress.hpp"
#include "framework/model/encode_in_pieces.hpp"
#include "framework/storage/mapped_file.hpp"

namespace kronlab::experiments {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t format_version = 1;
constexpr std::size_t piece_size = std::size_t{1} << 20;  // bytes of text that are encoded at a time

struct Header {
  std::array<char, 8> magic{'K', 'R', 'T', 'O', 'K', 'E', 'N', 'S'};
  std::uint32_t version = format_version;
  std::uint32_t bytes_per_id = 0;
  std::uint64_t num_ids = 0;
  std::array<char, 64> key{};
  std::array<char, 64> checksum{};
};
static_assert(sizeof(Header) == 152 && sizeof(Header) % sizeof(std::uint32_t) == 0);

std::array<char, 64> digits(const std::string& hash) {
  std::array<char, 64> result{};
  std::copy_n(hash.begin(), std::min(hash.size(), result.size()), result.begin());
  return result;
}

/// A file of the cache in memory, its header checked. @throws DataError if it is not what KEY stands for, StorageError
class TokenFile {
 public:
  TokenFile(const std::string& path, const std::string& key) : file_(std::make_shared<storage::MappedFile>(path)) {
    const auto bytes = file_->bytes();
    const Header expected;
    if (bytes.size() < sizeof header_) fail("is too short");
    std::memcpy(&header_, bytes.data(), sizeof header_);
    if (header_.magic != expected.magic) fail("holds no tokens");
    if (header_.version != format_version) fail(fmt::format("has version {}", header_.version));
    if (header_.key != digits(key)) fail("belongs to another text or tokenizer");
    if (header_.bytes_per_id != 2 && header_.bytes_per_id != 4) fail("is damaged");
    const std::size_t size = bytes.size() - sizeof header_;
    if (size % header_.bytes_per_id != 0 || size / header_.bytes_per_id != header_.num_ids) {
      fail(fmt::format("has {} bytes of ids, expected {} of {} bytes", size, header_.num_ids, header_.bytes_per_id));
    }
  }

  /// Reads the whole file. @throws DataError if the ids are not those that were written
  void expect_undamaged() const {
    Sha256 hash;
    hash.update(file_->bytes().subspan(sizeof header_));
    if (digits(hash.hex_digest()) != header_.checksum) fail("is damaged: the checksum of its ids differs");
  }

  model::TokenStream stream(const std::string& name, Index vocab_size) const {
    return header_.bytes_per_id == 2 ? stream_of<std::uint16_t>(name, vocab_size)
                                     : stream_of<std::uint32_t>(name, vocab_size);
  }

 private:
  template <class Id>
  model::TokenStream stream_of(const std::string& name, Index vocab_size) const {
    const auto* ids = reinterpret_cast<const Id*>(file_->bytes().data() + sizeof header_);
    return {name, std::shared_ptr<const Id>(file_, ids), static_cast<Index>(header_.num_ids), vocab_size};
  }
  [[noreturn]] void fail(const std::string& message) const {
    throw DataError(fmt::format("'{}' {}", file_->path(), message));
  }

  std::shared_ptr<const storage::MappedFile> file_;
  Header header_;
};

/// Writes a file of the cache to a temporary name, which goes away unless `finish` is called.
class TokenWriter {
 public:
  TokenWriter(const std::string& path, const std::string& key, Index vocab_size)
      : path_(path), temporary_(fmt::format("{}.{}.tmp", path, ::getpid())) {
    header_.key = digits(key);
    header_.bytes_per_id = vocab_size <= Index{1} << 16 ? 2 : 4;
    file_ = std::fopen(temporary_.c_str(), "wb");
    if (!file_) fail("create");
    write(&header_, sizeof header_);
  }
  ~TokenWriter() {
    if (file_) std::fclose(file_);
    if (!is_finished_) ::unlink(temporary_.c_str());
  }
  TokenWriter(const TokenWriter&) = delete;
  TokenWriter& operator=(const TokenWriter&) = delete;

  void append(std::span<const model::TokenId> ids) {
    if (header_.bytes_per_id == 2) {
      append_as<std::uint16_t>(ids);
    } else {
      append_as<std::uint32_t>(ids);
    }
  }

  void finish() {
    header_.checksum = digits(hash_.hex_digest());
    if (std::fseek(file_, 0, SEEK_SET) != 0) fail("write");
    write(&header_, sizeof header_);
    if (std::fflush(file_) != 0 || ::fsync(::fileno(file_)) != 0) fail("write");
    if (std::fclose(std::exchange(file_, nullptr)) != 0) fail("write");
    if (std::rename(temporary_.c_str(), path_.c_str()) != 0) fail("rename to");
    is_finished_ = true;
  }

 private:
  template <class Id>
  void append_as(std::span<const model::TokenId> ids) {
    const std::vector<Id> stored(ids.begin(), ids.end());
    KRONLAB_EXPECTS(
        std::equal(ids.begin(), ids.end(), stored.begin(), [](auto a, auto b) { return std::cmp_equal(a, b); }),
        "an id does not fit {} bytes", sizeof(Id));
    hash_.update(std::as_bytes(std::span(stored)));
    write(stored.data(), stored.size() * sizeof(Id));
    header_.num_ids += stored.size();
  }
  void write(const void* data, std::size_t size) {
    if (std::fwrite(data, 1, size, file_) != size) fail("write");
  }
  [[noreturn]] void fail(const char* action) const {
    throw StorageError(fmt::format("cannot {} '{}': {}", action, path_, std::strerror(errno)));
  }

  std::string path_, temporary_;
  std::FILE* file_ = nullptr;
  Header header_;
  Sha256 hash_;
  bool is_finished_ = false;
};

bool is_usable(const std::string& file, const std::string& key) {
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return false;
  try {
    TokenFile(file, key).expect_undamaged();
    return true;
  } catch (const Error& error) {
    log_warning(fmt::format("the cache is not used: {}", error.what()));
    return false;
  }
}

/// Tokenises a text into a file of the cache.
void make_file(const std::string& file, const std::string& key, const ModelAccess& model, const std::string& name,
               const std::string& path, const std::string& data_hash) {
  const storage::MappedFile text(path);
  const auto bytes = text.bytes();
  Sha256 hash;
  hash.update(bytes);
  if (hash.hex_digest() != data_hash) throw DataError(fmt::format("text '{}' changed after its hash was taken", path));
  const auto tokenizer = model.tokenizer();
  std::error_code error;
  const auto folder = fs::path(file).parent_path();
  fs::create_directories(folder, error);
  if (error) throw StorageError(fmt::format("cannot create '{}': {}", folder.string(), error.message()));
  TokenWriter writer(file, key, tokenizer->vocab_size());
  Progress progress(fmt::format("tokenising '{}', bytes", name), static_cast<Index>(bytes.size()));
  try {
    model::encode_in_pieces(*tokenizer, {reinterpret_cast<const char*>(bytes.data()), bytes.size()}, piece_size,
                            [&](std::span<const model::TokenId> ids, std::size_t end) {
                              writer.append(ids);
                              progress.update(static_cast<Index>(end));
                            });
  } catch (const DataError& problem) {
    throw DataError(fmt::format("text '{}': {}", path, problem.what()));
  }
  writer.finish();
}

}  // namespace

model::TokenStream cached_tokens(const comm::Communicator& communicator, const std::string& store_path,
                                 const ModelAccess& model, const std::string& name, const std::string& path,
                                 const std::string& data_hash) {
  const auto file_of = [&](const std::string& key) {
    return (fs::path(store_path) / "cache" / "tokens" / (key + ".tokens")).string();
  };
  std::string key;
  comm::coordinate(communicator, [&] {
    if (!communicator.is_root()) return;
    key = sha256(fmt::format("tokens {}\n{}\n{}\n", format_version, data_hash, model.tokenizer_hash()));
    if (!is_usable(file_of(key), key)) make_file(file_of(key), key, model, name, path, data_hash);
  });
  key = communicator.broadcast(std::move(key));
  return comm::coordinate(communicator, [&] {
    auto stream = TokenFile(file_of(key), key).stream(name, model.config().vocab_size);
    if (communicator.is_root()) stream.expect_in_vocabulary();
    return stream;
  });
}

}  // namespace kronlab::experiments
