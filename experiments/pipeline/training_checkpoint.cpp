#include "experiments/pipeline/training_checkpoint.hpp"

#include <algorithm>
#include <utility>

#include "framework/base/hash.hpp"
#include "framework/base/progress.hpp"
#include "framework/config/strict_table.hpp"
#include "framework/storage/run_database.hpp"
#include "framework/storage/safetensors.hpp"

namespace kronlab::experiments {
namespace {

namespace fs = std::filesystem;
using config::Value;

constexpr Index format_version = 1;
constexpr const char* file_names[] = {"model.safetensors", "first_moments.safetensors", "second_moments.safetensors"};

/// The view of a tensor's elements within an array of the gradients' extent.
template <class View>
View part_of(View all, const model::LearnedTensor& tensor) {
  View view = all.block(0, tensor.offset, 1, tensor.size);
  view.rows = tensor.value->rows(), view.cols = view.stride = tensor.value->cols();
  return view;
}

void write_elements(const std::string& path, const model::Parameters& parameters, const Tensor& elements) {
  std::vector<storage::NamedTensor> tensors;
  for (const auto& tensor : parameters.tensors()) tensors.push_back({tensor.name, tensor.value->shape(), part_of(elements.view(), tensor)});
  storage::write_safetensors(path, tensors);
}

Value::Table with_checksums(const TrainingState& state, const fs::path& folder) {
  Value::Table files;
  for (const char* name : file_names) files[name] = sha256_of_file((folder / name).string());
  return {{"version", format_version},
          {"identity", state.identity},
          {"step", state.step},
          {"num_updates", state.num_updates},
          {"num_skipped_in_row", state.num_skipped_in_row},
          {"best_step", state.best_step},
          {"best_loss", state.best_loss},
          {"num_worse", state.num_worse},
          {"seconds", state.seconds},
          {"sha256", std::move(files)}};
}

/// Runs over this rank's elements of the moments: body(element of the gradients, element of the moments, count).
template <class Body>
void for_pieces(const std::vector<model::GradientBucket>& pieces, Body body) {
  Index at = 0;
  for (const auto& [begin, end] : pieces) {
    body(begin, at, end - begin);
    at += end - begin;
  }
}

/// Copies elements between arrays of one type.
void copy(const Tensor& from, Index first, Tensor& to, Index at, Index count) {
  convert(from.view().block(0, first, 1, count), to.view().block(0, at, 1, count));
}

}  // namespace

void write_values(const std::string& path, const model::Parameters& parameters) {
  std::vector<storage::NamedTensor> tensors;
  for (const auto& tensor : parameters.tensors()) tensors.push_back({tensor.name, tensor.value->shape(), std::as_const(*tensor.value).view()});
  storage::write_safetensors(path, tensors);
}

void read_values(const std::string& path, const model::Parameters& parameters) {
  const storage::SafetensorsFile file(path);
  for (const auto& tensor : parameters.tensors()) {
    if (file.info(tensor.name).shape != tensor.value->shape()) {
      throw DataError(fmt::format("'{}': tensor '{}' has shape [{}], expected [{}]", path, tensor.name, fmt::join(file.info(tensor.name).shape, ", "),
                                  fmt::join(tensor.value->shape(), ", ")));
    }
    file.read(tensor.name, tensor.value->view());
  }
  parameters.changed();
}

fs::path TrainingCheckpoints::folder_of(Index step) const { return folder_ / fmt::format("step-{:09}", step); }

std::vector<Index> TrainingCheckpoints::steps() const {
  std::vector<Index> found;
  if (!fs::exists(folder_)) return found;
  for (const auto& entry : fs::directory_iterator(folder_)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("step-") || name.size() != 14 || name.find_first_not_of("0123456789", 5) != std::string::npos) continue;
    if (fs::exists(entry.path() / "DONE")) found.push_back(std::stoll(name.substr(5)));
  }
  std::ranges::sort(found);
  return found;
}

fs::path TrainingCheckpoints::unfinished_folder_of(Index step) const {
  return folder_of(step).string() + fmt::format(".{}.tmp", sha256(storage::this_process()).substr(0, 8));
}

/// What processes before this one left when they were killed.
void TrainingCheckpoints::remove_unfinished() const {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder_, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("step-") && name.ends_with(".tmp")) fs::remove_all(entry.path(), ignored);
  }
}

void TrainingCheckpoints::write(const comm::Communicator& communicator, const TrainingState& state, distill::Trainer& trainer,
                                const std::function<void()>& expect_current) const {
  const fs::path folder = folder_of(state.step), unfinished = unfinished_folder_of(state.step);
  const auto on_root = [&](auto work) {
    comm::coordinate(communicator, [&] {
      if (!communicator.is_root()) return;
      try {
        work();
      } catch (const fs::filesystem_error& error) {
        std::error_code ignored;
        fs::remove_all(unfinished, ignored);
        throw StorageError(fmt::format("checkpoint '{}': {}", folder.string(), error.what()));
      } catch (const std::exception&) {
        std::error_code ignored;
        fs::remove_all(unfinished, ignored);
        throw;
      }
    });
  };
  on_root([&] {
    fs::remove_all(unfinished);
    fs::create_directories(unfinished);
    write_values((unfinished / file_names[0]).string(), trainer.parameters());
  });
  const Tensor* moments[] = {&trainer.optimizer().first(), &trainer.optimizer().second()};
  for (int i = 0; i < 2; ++i) {
    Tensor& elements = trainer.spare_elements();
    for_pieces(trainer.optimizer().pieces(), [&](Index element, Index at, Index count) { copy(*moments[i], at, elements, element, count); });
    trainer.gradient_sum().all_gather(elements);
    on_root([&] { write_elements((unfinished / file_names[i + 1]).string(), trainer.parameters(), elements); });
  }
  on_root([&] {
    const std::string text = config::to_toml(Value(with_checksums(state, unfinished)));
    write_file_atomically((unfinished / "state.toml").string(), text);
    write_file_atomically((unfinished / "DONE").string(), sha256(text) + "\n");
    expect_current();
    fs::remove_all(folder);
    fs::rename(unfinished, folder);
  });
}

config::StrictTable TrainingCheckpoints::state_table(Index step) const {
  const fs::path folder = folder_of(step), state_path = folder / "state.toml";
  const std::string text = read_text_file(state_path.string());
  if (read_text_file((folder / "DONE").string()) != sha256(text) + "\n") {
    throw DataError(fmt::format("checkpoint '{}' is damaged: its checksum is not that of state.toml", folder.string()));
  }
  const config::StrictTable table(config::parse_toml(text, state_path.string()));
  if (const Index version = table.integer("version"); version > format_version) {
    throw ConfigError(fmt::format("checkpoint '{}' was written by a newer version of kronlab (format {}, this one reads {})", folder.string(), version,
                                  format_version));
  }
  return table;
}

TrainingState TrainingCheckpoints::read_state(Index step) const {
  const auto table = state_table(step);
  TrainingState state;
  state.identity = table.text("identity");
  state.step = table.integer("step"), state.num_updates = table.integer("num_updates");
  state.num_skipped_in_row = table.integer("num_skipped_in_row");
  state.best_step = table.integer("best_step"), state.best_loss = table.number("best_loss"), state.num_worse = table.integer("num_worse");
  state.seconds = table.number("seconds");
  return state;
}

void TrainingCheckpoints::expect_whole(Index step) const {
  const auto checksums = state_table(step).table("sha256");
  for (const char* name : file_names) {
    const std::string expected = checksums.text(name), found = sha256_of_file((folder_of(step) / name).string());
    if (found != expected) {
      throw DataError(fmt::format("checkpoint '{}' is damaged: {} has SHA-256 {}, expected {}", folder_of(step).string(), name, found, expected));
    }
  }
}

std::optional<TrainingState> TrainingCheckpoints::resume(const comm::Communicator& communicator, const std::string& identity,
                                                         distill::Trainer& trainer) const {
  Index chosen = -1;
  comm::coordinate(communicator, [&] {
    if (!communicator.is_root()) return;
    remove_unfinished();
    auto all = steps();
    std::string problem;
    while (!all.empty() && chosen < 0) {
      try {
        const auto state = read_state(all.back());
        if (state.identity != identity) {
          throw ConfigError(fmt::format("checkpoint '{}' is of another configuration: expected {}, found {}", folder_of(all.back()).string(),
                                        identity.substr(0, 12), state.identity.substr(0, 12)));
        }
        expect_whole(all.back());
        chosen = all.back();
      } catch (const ConfigError&) {
        throw;
      } catch (const Error& error) {
        problem = error.what();
        log_warning(problem);
        all.pop_back();
      }
    }
    if (chosen < 0 && !problem.empty()) {
      throw DataError(problem + "; no other checkpoint of this stage is whole: remove its folder to start the stage again");
    }
  });
  communicator.broadcast(std::span<Index>(&chosen, 1));
  if (chosen < 0) return std::nullopt;
  return comm::coordinate(communicator, [&] {
    const auto state = read_state(chosen);
    const fs::path folder = folder_of(chosen);
    read_values((folder / file_names[0]).string(), trainer.parameters());
    Tensor* moments[] = {&trainer.optimizer().first(), &trainer.optimizer().second()};
    for (int i = 0; i < 2; ++i) {
      const storage::SafetensorsFile file((folder / file_names[i + 1]).string());
      Tensor& elements = trainer.spare_elements();
      for (const auto& tensor : trainer.parameters().tensors()) file.read(tensor.name, part_of(elements.view(), tensor));
      for_pieces(trainer.optimizer().pieces(), [&](Index element, Index at, Index count) { copy(elements, element, *moments[i], at, count); });
    }
    trainer.optimizer().set_num_updates(state.num_updates);
    return std::optional(state);
  });
}

void TrainingCheckpoints::load_values(const comm::Communicator& communicator, Index step, const model::Parameters& parameters) const {
  comm::coordinate(communicator, [&] {
    if (communicator.is_root()) expect_whole(step);
    read_values((folder_of(step) / file_names[0]).string(), parameters);
  });
}

void TrainingCheckpoints::prune(Index keep, Index best_step) const {
  auto all = steps();
  for (std::size_t i = 0; i + static_cast<std::size_t>(keep) < all.size(); ++i) {
    if (all[i] == best_step) continue;
    std::error_code error;
    fs::remove(folder_of(all[i]) / "DONE", error);  // from here on it is ignored
    fs::remove_all(folder_of(all[i]), error);
    if (error) log_warning(fmt::format("checkpoint '{}' could not be removed: {}", folder_of(all[i]).string(), error.message()));
  }
}

}  // namespace kronlab::experiments
