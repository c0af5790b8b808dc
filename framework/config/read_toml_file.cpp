#include "framework/config/read_toml_file.hpp"

#include <algorithm>
#include <filesystem>

namespace kronlab::config {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t max_levels = 16;

/// `over` wins; tables are merged key by key.
void merge(Value& base, Value over) {
  auto* into = base.as<Value::Table>();
  auto* from = over.as<Value::Table>();
  if (!into || !from) {
    base = std::move(over);
    return;
  }
  for (auto& [key, value] : *from) {
    const auto [at, is_new] = into->try_emplace(key);
    if (is_new) {
      at->second = std::move(value);
    } else {
      merge(at->second, std::move(value));
    }
  }
  base.position = over.position;
}

/// Reads files from the first to what is included last.
class Inclusion {
 public:
  explicit Inclusion(const TextReader& read) : read_(read) {}

  Value first(const std::string& file) {
    try {
      return whole(file, read_(file));
    } catch (const StorageError& error) {  // of this file: those of included ones are ConfigErrors by now
      throw ConfigError(error.what());
    }
  }

 private:
  Value whole(const std::string& file, const std::string& text) {
    Value own = parse_toml(text, file);
    auto& table = *own.as<Value::Table>();
    const auto found = table.find("include");
    if (found == table.end()) return own;
    const Value includes = std::move(found->second);
    table.erase(found);
    chain_.push_back(file);
    Value merged;
    if (const auto* list = includes.as<Value::Array>()) {
      if (list->empty()) fail(includes, "the list is empty");
      for (const Value& include : *list) merge(merged, included(include));
    } else {
      merged = included(includes);
    }
    chain_.pop_back();
    merge(merged, std::move(own));
    return merged;
  }

  Value included(const Value& include) {
    const auto* path = include.as<std::string>();
    if (!path || path->empty()) {
      fail(include, fmt::format("expected the path of a file or a list of paths, found {}", to_text(include)));
    }
    const std::string file = (fs::path(chain_.back()).parent_path() / *path).lexically_normal().string();
    const bool is_open = std::ranges::any_of(chain_, [&](const auto& open) { return fs::path(open).lexically_normal() == file; });
    if (is_open) fail(include, fmt::format("'{}' includes itself", file), file);
    if (chain_.size() > max_levels) fail(include, fmt::format("more than {} levels", max_levels), file);
    return whole(file, text_of(include, file));
  }

  std::string text_of(const Value& include, const std::string& file) {
    try {
      return read_(file);
    } catch (const StorageError& error) {
      fail(include, error.what(), file);
    }
  }

  /// `file`: the one that the include means, if that is known.
  [[noreturn]] void fail(const Value& include, const std::string& message, const std::string& file = "") const {
    throw ConfigError(fmt::format("{}: include: {} ({}{}{})", include.position.text(), message,
                                  fmt::join(chain_, " -> "), file.empty() ? "" : " -> ", file));
  }

  const TextReader& read_;
  std::vector<std::string> chain_;  ///< files that are being read, each included by the one before
};

}  // namespace

Value read_toml_file(const std::string& file, const TextReader& read) { return Inclusion(read).first(file); }

}  // namespace kronlab::config
