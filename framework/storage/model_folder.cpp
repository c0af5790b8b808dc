#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "framework/base/hash.hpp"
#include "framework/storage/model_files.hpp"
#include "framework/storage/safetensors.hpp"
#include "framework/storage/unique_json.hpp"

namespace kronlab::storage {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

std::string canonical_name(const std::string& name) {
  for (const std::string prefix : {"transformer.", "model."}) {
    if (name.starts_with(prefix)) return name.substr(prefix.size());
  }
  return name;
}

/// Buffers of old checkpoints that are no weights.
bool is_buffer(const std::string& name) {
  return name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias") || name.ends_with("rotary_emb.inv_freq");
}

bool is_conv1d(const std::string& name) {
  for (const char* layer : {".attn.c_attn.weight", ".attn.c_proj.weight", ".mlp.c_fc.weight", ".mlp.c_proj.weight"}) {
    if (name.ends_with(layer)) return true;
  }
  return false;
}

/// One file or several shards, seen as one model.
class FolderTensors final : public TensorSource {
 public:
  FolderTensors(const fs::path& folder, bool gpt2) : gpt2_(gpt2) {
    if (fs::exists(folder / "model.safetensors.index.json")) {
      open_shards(folder);
    } else {
      add_file(std::make_shared<SafetensorsFile>(the_file(folder).string()));
    }
    for (const auto& [name, place] : places_) infos_.push_back(place.info);
  }

  const std::vector<TensorInfo>& tensors() const override { return infos_; }

  void read(const std::string& name, TensorView to) const override {
    info(name);
    const Place& place = places_.at(name);
    if (!is_transposed(name)) return place.file->read(place.stored_name, to);
    Tensor stored = Tensor::uninitialised(to.dtype == DType::f64 ? DType::f64 : DType::f32, {to.cols, to.rows});
    place.file->read(place.stored_name, stored.view());
    Tensor turned = Tensor::uninitialised(stored.dtype(), {to.rows, to.cols});
    if (stored.dtype() == DType::f64) {
      transpose<double>(stored, turned);
    } else {
      transpose<float>(stored, turned);
    }
    convert(turned.view(), to);
  }

 private:
  struct Place {
    std::shared_ptr<SafetensorsFile> file;
    std::string stored_name;
    TensorInfo info;
  };

  static fs::path the_file(const fs::path& folder) {
    if (fs::exists(folder / "model.safetensors")) return folder / "model.safetensors";
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (entry.path().extension() == ".safetensors") found.push_back(entry.path());
    }
    if (found.size() == 1) return found.front();
    throw DataError(fmt::format("'{}': expected model.safetensors, its index, or a single *.safetensors; found {}",
                                folder.string(), found.size()));
  }

  void open_shards(const fs::path& folder) {
    const std::string index_path = (folder / "model.safetensors.index.json").string();
    const Json index = parse_unique_object(read_text_file(index_path), index_path);
    const Json map = index.value("weight_map", Json());
    if (!map.is_object()) throw DataError(fmt::format("'{}': expected an object 'weight_map'", index_path));
    std::map<std::string, std::shared_ptr<SafetensorsFile>> shards;
    for (const auto& [name, shard] : map.items()) {
      if (!shard.is_string()) throw DataError(fmt::format("'{}': the shard of '{}' is no string", index_path, name));
      const auto file_name = shard.get<std::string>();
      if (fs::path(file_name).filename() != file_name)
        throw DataError(fmt::format("'{}': shard '{}' is not in the model's folder", index_path, file_name));
      auto& file = shards[file_name];
      if (!file) {
        const fs::path path = folder / file_name;
        if (!fs::is_regular_file(path))
          throw DataError(fmt::format("'{}': shard '{}' is missing", index_path, file_name));
        file = std::make_shared<SafetensorsFile>(path.string());
      }
      if (!file->has(name))
        throw DataError(fmt::format("'{}': tensor '{}' is not in shard '{}'", index_path, name, file_name));
      add(file, name);
    }
  }

  void add_file(const std::shared_ptr<SafetensorsFile>& file) {
    for (const auto& tensor : file->tensors()) add(file, tensor.name);
  }

  void add(const std::shared_ptr<SafetensorsFile>& file, const std::string& stored_name) {
    const std::string name = canonical_name(stored_name);
    if (is_buffer(name)) return;
    TensorInfo info = file->info(stored_name);
    info.name = name;
    if (is_transposed(name) && info.shape.size() == 2) std::swap(info.shape[0], info.shape[1]);
    if (!places_.emplace(name, Place{file, stored_name, info}).second)
      throw DataError(fmt::format("tensor '{}' is there with and without its prefix", name));
  }

  bool is_transposed(const std::string& name) const { return gpt2_ && is_conv1d(name); }

  template <class T>
  static void transpose(const Tensor& from, Tensor& to) {
    const auto a = from.matrix<T>();
    const auto b = to.matrix<T>();
    constexpr Index tile = 32;
#pragma omp parallel for schedule(static)
    for (Index i0 = 0; i0 < b.rows; i0 += tile) {
      for (Index j0 = 0; j0 < b.cols; j0 += tile) {
        for (Index i = i0; i < std::min(i0 + tile, b.rows); ++i) {
          for (Index j = j0; j < std::min(j0 + tile, b.cols); ++j) b(i, j) = a(j, i);
        }
      }
    }
  }

  bool gpt2_;
  std::map<std::string, Place> places_;
  std::vector<TensorInfo> infos_;
};

class Folder final : public ModelFiles {
 public:
  explicit Folder(const std::string& path) : ModelFiles(path), folder_(path) {
    if (!fs::exists(folder_ / "config.json"))
      throw DataError(fmt::format("'{}' is no model folder: it has no config.json", path));
    for (const auto& entry : fs::directory_iterator(folder_)) {
      has_weights_ = has_weights_ || entry.path().extension() == ".safetensors";
      has_pickle_ = has_pickle_ || entry.path().extension() == ".bin";
    }
    has_weights_ = has_weights_ || fs::exists(folder_ / "model.safetensors.index.json");
  }

  std::optional<std::string> text(const std::string& name) const override {
    const fs::path path = folder_ / name;
    if (!fs::exists(path)) return std::nullopt;
    return read_text_file(path.string());
  }

  bool has_weights() const override { return has_weights_; }

  const TensorSource& tensors() const override {
    if (!has_weights_) {
      throw DataError(fmt::format("'{}' has no weights: expected model.safetensors{}", path(),
                                  has_pickle_ ? " (only safetensors is read, not *.bin)" : ""));
    }
    if (!tensors_) {
      bool gpt2 = false;
      try {
        gpt2 = Json::parse(*text("config.json")).value("model_type", "") == "gpt2";
      } catch (const Json::exception& error) {
        throw DataError(fmt::format("'{}/config.json': {}", path(), error.what()));
      }
      tensors_ = std::make_unique<FolderTensors>(folder_, gpt2);
    }
    return *tensors_;
  }

  std::vector<std::string> file_paths() const override {
    std::vector<std::string> paths;
    for (const auto& entry : fs::directory_iterator(folder_)) {
      const auto extension = entry.path().extension();
      if (entry.is_regular_file() &&
          (extension == ".safetensors" || extension == ".json" || extension == ".txt" || extension == ".model")) {
        paths.push_back(entry.path().string());
      }
    }
    std::ranges::sort(paths);
    return paths;
  }

  std::string hash_from(const std::vector<std::string>& file_paths, const std::vector<std::string>& digests) const override {
    std::string listing;
    for (std::size_t i = 0; i < file_paths.size(); ++i) listing += fmt::format("{} {}\n", digests[i], fs::path(file_paths[i]).filename().string());
    return sha256(listing);
  }

 private:
  fs::path folder_;
  bool has_weights_ = false, has_pickle_ = false;
  mutable std::unique_ptr<FolderTensors> tensors_;
};

}  // namespace

std::unique_ptr<ModelFiles> open_folder(const std::string& path) { return std::make_unique<Folder>(path); }

std::string ModelFiles::hash() const {
  const auto paths = file_paths();
  std::vector<std::string> digests;
  for (const auto& path : paths) digests.push_back(sha256_of_file(path));
  return hash_from(paths, digests);
}

std::unique_ptr<ModelFiles> ModelFiles::open(const std::string& path) {
  if (fs::is_directory(path)) return open_folder(path);
  if (!fs::exists(path))
    throw DataError(fmt::format("model '{}' does not exist; expected a Hugging Face folder or a .gguf file", path));
  if (path.ends_with(".gguf")) return open_gguf(path);
  throw DataError(fmt::format("model '{}' is neither a folder nor a .gguf file", path));
}

}  // namespace kronlab::storage
