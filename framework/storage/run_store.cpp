#include "framework/storage/run_store.hpp"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <random>
#include <set>

#include "framework/base/hash.hpp"
#include "framework/base/progress.hpp"
#include "framework/storage/run_database.hpp"
#include "framework/storage/slurm.hpp"

namespace kronlab::storage {
namespace {

namespace fs = std::filesystem;

/// A batch is made durable, which takes a disk some milliseconds: where they follow each other faster than this, the next
/// one is twice as large.
constexpr std::size_t smallest_batch = 256, largest_batch = 65'536;
constexpr double batch_interval_s = 0.5;
/// How long a batch that `record` starts may wait for a reader; `flush` waits for `patience_s`.
constexpr int record_patience_ms = 1000;

constexpr std::array<const char*, 6> state_names = {"created", "running", "interrupted", "done", "failed", "lost"};

/// Letters, digits and single dashes, so that a folder's name needs no quotes.
std::string slug_of(const std::string& name) {
  std::string slug;
  for (const unsigned char c : name) {
    if (c < 128 && std::isalnum(c)) {
      slug += static_cast<char>(std::tolower(c));
    } else if (!slug.empty() && slug.back() != '-') {
      slug += '-';
    }
    if (slug.size() == 40) break;
  }
  while (slug.ends_with('-')) slug.pop_back();
  return slug.empty() ? "run" : slug;
}

/// The eight digits are 20 bits of the second's fraction, then 12 random bits: names sort by time within a second too.
std::string new_run_id(const std::string& name) {
  std::timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  std::tm parts{};
  ::gmtime_r(&now.tv_sec, &parts);
  std::array<char, 32> time{};
  std::strftime(time.data(), time.size(), "%Y%m%dT%H%M%SZ", &parts);
  const auto fraction = static_cast<std::uint32_t>((static_cast<std::uint64_t>(now.tv_nsec) << 20) / 1'000'000'000U);
  const std::uint32_t noise = std::random_device{}() & 0xfffU;
  return fmt::format("{}-{:08x}-{}", time.data(), fraction << 12 | noise, slug_of(name));
}

[[noreturn]] void throw_filesystem(const std::string& action, const fs::path& path, const std::error_code& code) {
  throw StorageError(fmt::format("cannot {} '{}': {}", action, path.string(), code.message()));
}

void make_folder(const fs::path& path) {
  std::error_code code;
  fs::create_directories(path, code);
  if (code) throw_filesystem("make the folder", path, code);
}

/// A folder that nobody else has made. @return false if its name is taken
bool make_new_folder(const fs::path& path) {
  std::error_code code;
  const bool is_new = fs::create_directory(path, code);
  if (code) throw_filesystem("make the folder", path, code);
  return is_new;
}

void sync_folder(const fs::path& path) {
  const int folder = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;
  ::fsync(folder);  // some file systems cannot; then the rename is as durable as they make it
  ::close(folder);
}

template <class... Values>
void execute(SQLite::Database& database, const char* sql, const Values&... values) {
  SQLite::Statement statement(database, sql);
  execute_with(statement, values...);
}

void insert_texts(SQLite::Database& database, const char* table, const NamedTexts& texts) {
  SQLite::Statement statement(database, fmt::format("INSERT INTO {} (name, value) VALUES (?, ?)", table));
  for (const auto& [name, value] : texts) execute_with(statement, name, value);
}

void insert_run(SQLite::Database& database, const std::string& run_id, const RunDescription& run) {
  SQLite::Transaction transaction(database, SQLite::TransactionBehavior::IMMEDIATE);
  const std::string now = utc_now();
  execute(
      database,
      "INSERT INTO run (one, run_id, name, label, question, paper, config_toml, cell, model_path, model_name, state, "
      "reason, created_at, updated_at, writer) VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'created', '', ?, ?, ?)",
      run_id, run.name, run.label, run.question, run.paper, run.config_toml, run.cell, run.model_path, run.model_name,
      now, now, this_process());
  insert_texts(database, "parameter", run.parameters);
  insert_texts(database, "provenance", run.provenance);
  transaction.commit();
}

void insert_metrics(SQLite::Database& database, const std::vector<Metric>& metrics) {
  SQLite::Statement statement(database,
                              "INSERT INTO metric (name, value, unit, stage, step, layer, dataset, protocol, "
                              "standard_error) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)");
  for (const auto& m : metrics)
    execute_with(statement, m.name, m.value, m.unit, m.stage, m.step, m.layer, m.dataset, m.protocol, m.standard_error);
}

void insert_layers(SQLite::Database& database, const std::vector<LayerRecord>& layers) {
  SQLite::Statement statement(
      database,
      "INSERT OR REPLACE INTO layer (stage, layer, method, num_rows, num_cols, parameters_before, parameters_after, "
      "bytes_after, relative_error, weighted_error, search_value, search_bound, seconds, convergence) "
      "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  for (const auto& l : layers) {
    execute_with(statement, l.stage, l.layer, l.method, l.rows, l.cols, l.parameters_before, l.parameters_after, l.bytes_after, l.relative_error,
                 l.weighted_error, l.search_value, l.search_bound, l.seconds, l.convergence);
  }
}

void insert_evaluations(SQLite::Database& database, const std::vector<EvaluationRecord>& evaluations) {
  SQLite::Statement parent(database, "INSERT INTO evaluation (stage, step, dataset, protocol, data_sha256) VALUES (?, ?, ?, ?, ?)");
  SQLite::Statement child(database, "INSERT INTO window_loss (evaluation, window, weight, loss) VALUES (?, ?, ?, ?)");
  for (const auto& evaluation : evaluations) {
    execute_with(parent, evaluation.stage, evaluation.step, evaluation.dataset, evaluation.protocol, evaluation.data_sha256);
    const std::int64_t id = database.getLastInsertRowid();
    std::int64_t number = 0;
    for (const auto& [weight, loss] : evaluation.windows) execute_with(child, id, number++, weight, loss);
  }
}

/// Whether the writer is a former incarnation of this process's Slurm job, which that has started again.
bool is_replaced(SQLite::Database& database, const std::string& writer) {
  if (slurm_job().empty() || slurm_restart() == 0) return false;
  SQLite::Statement query(database, "SELECT job FROM attempt WHERE process = ? ORDER BY number DESC LIMIT 1");
  query.bind(1, writer);
  return query.executeStep() && query.getColumn(0).getString() == slurm_job();
}

/// Whether `path` stays inside the folder it is relative to.
bool is_inside(const fs::path& path) {
  if (path.empty() || path.is_absolute()) return false;
  return *path.lexically_normal().begin() != "..";
}

}  // namespace

std::string to_string(RunState state) { return state_names[static_cast<std::size_t>(state)]; }

RunState run_state(const std::string& text) {
  for (std::size_t i = 0; i < state_names.size(); ++i) {
    if (text == state_names[i]) return static_cast<RunState>(i);
  }
  throw StorageError(fmt::format("unknown state of a run '{}'; known: {}", text, fmt::join(state_names, ", ")));
}

fs::path attempt_log_path(const fs::path& run_folder, Index attempt) { return run_folder / "log" / fmt::format("attempt-{}.log", attempt); }

struct RunStore::State {
  std::string id;
  fs::path folder;
  fs::path path;
  SQLite::Database database;
  std::set<Index> started;
  std::vector<Metric> metrics;
  std::vector<LayerRecord> layers;
  std::vector<EvaluationRecord> evaluations;
  double patience_s = 60.0;
  std::size_t batch = smallest_batch, next_batch = smallest_batch;
  double batch_written_s = 0.0;  ///< when `record` wrote the last one
  bool is_claimed = true;  ///< the database names this process as its writer
  Index last_attempt = 0;  ///< a higher number in the database is another process's

  State(std::string id_, fs::path folder_)
      : id(std::move(id_)),
        folder(std::move(folder_)),
        path(folder / "run.sqlite"),
        database(open_for_writing(path)),
        started{-1} {
    with_database(path, [&] {
      SQLite::Statement query(database, "SELECT stage FROM stage WHERE stage >= 0");
      while (query.executeStep()) started.insert(query.getColumn(0).getInt64());
      last_attempt = read_last_attempt();
    });
  }

  Index read_last_attempt() { return database.execAndGet("SELECT coalesce(max(number), 0) FROM attempt").getInt64(); }

  /// Within a transaction: a process that has taken the run over wrote its name and its attempt into the database.
  void expect_current() {
    std::string writer = database.execAndGet("SELECT writer FROM run").getString();
    const bool is_current = (writer.empty() || writer == this_process()) && read_last_attempt() == last_attempt;
    if (is_current) return;
    if (writer.empty()) writer = database.execAndGet("SELECT process FROM attempt ORDER BY number DESC LIMIT 1").getString();
    throw StorageError(fmt::format("run '{}' was taken over by {}: this process writes no more", id, process_for_people(writer)));
  }

  /// One transaction: what is kept, then `also`. Throws SQLite's exception and keeps everything if it fails.
  template <class Also>
  void commit(int wait_ms, Also also) {
    database.setBusyTimeout(wait_ms);
    SQLite::Transaction transaction(database, SQLite::TransactionBehavior::IMMEDIATE);
    expect_current();
    insert_metrics(database, metrics);
    insert_layers(database, layers);
    insert_evaluations(database, evaluations);
    execute(database, "UPDATE run SET updated_at = ?", utc_now());
    also();
    transaction.commit();
    metrics.clear();
    layers.clear();
    evaluations.clear();
    next_batch = batch;
  }

  template <class Also>
  void commit_patiently(Also also) {
    with_database(path, [&] { commit(static_cast<int>(std::lround(patience_s * 1000.0)), also); });
  }

  /// A batch that a reader holds up waits for the next one; any other failure is told.
  void commit_full_batch() {
    if (num_kept() < next_batch) return;
    next_batch = num_kept() + batch;
    const double now = now_s();
    batch = now - batch_written_s < batch_interval_s ? std::min(2 * batch, largest_batch) : smallest_batch;
    batch_written_s = now;
    try {
      commit(record_patience_ms, [] {});
    } catch (const SQLite::Exception& error) {
      if (error.getErrorCode() != SQLITE_BUSY) throw database_error(path, error);
      log_warning(fmt::format("another program holds '{}'; {} records wait in memory", path.string(), num_kept()));
    }
  }

  std::size_t num_kept() const { return metrics.size() + layers.size() + evaluations.size(); }

  /// A part of what is recorded: "metric 'distill/loss'".
  void expect_started(Index stage, const char* what, const std::string& name) const {
    KRONLAB_EXPECTS(started.contains(stage), "{} '{}' is of stage {}, which was not started", what, name, stage);
  }
};

RunStore::RunStore(std::unique_ptr<State> state) : state_(std::move(state)) {}
RunStore::RunStore(RunStore&&) noexcept = default;
RunStore& RunStore::operator=(RunStore&&) noexcept = default;

RunStore::~RunStore() {
  if (!state_ || (!state_->is_claimed && state_->num_kept() == 0)) return;
  try {
    state_->commit_patiently([&] { execute(state_->database, "UPDATE run SET writer = ''"); });
  } catch (const std::exception& error) {
    if (state_->num_kept() > 0) log_warning(fmt::format("{} records of run {} are lost: {}", state_->num_kept(), state_->id, error.what()));
  }
}

RunStore RunStore::create(const std::string& store_path, const RunDescription& description) {
  const fs::path runs = fs::path(store_path) / "runs";
  make_folder(runs);
  std::string id;
  fs::path unfinished;
  do {
    id = new_run_id(description.name);
    unfinished = runs / ("." + id + ".tmp");
  } while (fs::exists(runs / id) || !make_new_folder(unfinished));
  try {
    make_folder(unfinished / "log");
    make_folder(unfinished / "checkpoints");
    write_file_atomically((unfinished / "config.toml").string(), description.config_toml);
    with_database(unfinished / "run.sqlite", [&] {
      SQLite::Database database = create_database(unfinished / "run.sqlite");
      insert_run(database, id, description);
    });
    std::error_code code;
    fs::rename(unfinished, runs / id, code);
    if (code) throw_filesystem("name the folder", runs / id, code);
    sync_folder(runs);
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(unfinished, ignored);
    throw;
  }
  return RunStore(std::make_unique<State>(id, runs / id));
}

RunStore RunStore::open(const std::string& store_path, const std::string& run_id) {
  const fs::path folder = fs::path(store_path) / "runs" / run_id;
  const bool is_name = !run_id.empty() && run_id != "." && run_id != ".." && run_id.find('/') == std::string::npos;
  if (!is_name || !fs::exists(folder / "run.sqlite")) {
    throw StorageError(fmt::format("store '{}' has no run '{}'", store_path, run_id));
  }
  auto state = std::make_unique<State>(run_id, folder);
  with_database(state->path, [&] {
    SQLite::Transaction transaction(state->database, SQLite::TransactionBehavior::IMMEDIATE);
    const std::string writer = state->database.execAndGet("SELECT writer FROM run").getString();
    if (writer != this_process() && process_state(writer) == ProcessState::alive && !is_replaced(state->database, writer)) {
      throw StorageError(fmt::format("run '{}' is being written by another process ({})", run_id, writer));
    }
    execute(state->database, "UPDATE run SET writer = ?", this_process());
    transaction.commit();
  });
  return RunStore(std::move(state));
}

void RunStore::forget_stages_from(Index first) {
  auto& database = state_->database;
  state_->commit_patiently([&] {
    execute(database, "DELETE FROM stage WHERE stage >= ? AND stage >= 0", first);
    if (first > -1) return;
    execute(database, "DELETE FROM metric");
    execute(database, "DELETE FROM layer");
    execute(database, "DELETE FROM evaluation");
    execute(database, "UPDATE stage SET started_at = NULL, finished_at = NULL, seconds = NULL WHERE stage = -1");
  });
  std::erase_if(state_->started, [&](Index stage) { return stage >= 0 && stage >= first; });
}

void RunStore::forget_steps_after(Index stage, Index step) {
  const auto is_later = [&](const auto& record) { return record.stage == stage && record.step > step; };
  std::erase_if(state_->metrics, is_later);
  std::erase_if(state_->evaluations, is_later);
  state_->commit_patiently([&] {
    execute(state_->database, "DELETE FROM metric WHERE stage = ? AND step > ?", stage, step);
    execute(state_->database, "DELETE FROM evaluation WHERE stage = ? AND step > ?", stage, step);
  });
}

const std::string& RunStore::id() const { return state_->id; }
const fs::path& RunStore::folder() const { return state_->folder; }
void RunStore::set_patience(double seconds) {
  KRONLAB_EXPECTS(seconds >= 0.0 && seconds < 1e6, "a patience of {} s", seconds);
  state_->patience_s = seconds;
}

void RunStore::set_state(RunState state, const std::string& reason) {
  const bool goes_on = state == RunState::created || state == RunState::running;
  state_->commit_patiently([&] {
    execute(state_->database, "UPDATE run SET state = ?, reason = ?, writer = ?", to_string(state), reason,
            goes_on ? this_process() : std::string());
    if (goes_on) return;
    execute(state_->database, "UPDATE attempt SET ended_at = ?, state = ?, reason = ? WHERE number = (SELECT max(number) FROM attempt)", utc_now(),
            to_string(state), reason);
  });
  state_->is_claimed = goes_on;
}

Index RunStore::attempt_started() {
  Index number = 0;
  state_->commit_patiently([&] {
    execute(state_->database, "INSERT INTO attempt (started_at, process, job, state, reason) VALUES (?, ?, ?, 'running', '')", utc_now(), this_process(),
            slurm_job());
    number = state_->database.getLastInsertRowid();
  });
  state_->last_attempt = number;
  return number;
}

void RunStore::stage_started(Index stage, const std::string& name) {
  KRONLAB_EXPECTS(stage >= -1, "stage {} is below -1, the dense model", stage);
  state_->commit_patiently([&] {
    execute(state_->database,
            "INSERT INTO stage (stage, name, started_at) VALUES (?, ?, ?) ON CONFLICT (stage) DO UPDATE SET "
            "name = excluded.name, started_at = excluded.started_at, finished_at = NULL, seconds = NULL",
            stage, name, utc_now());
  });
  state_->started.insert(stage);
}

void RunStore::stage_finished(Index stage, double seconds) {
  auto& database = state_->database;
  state_->commit_patiently([&] {
    execute(database, "UPDATE stage SET finished_at = ?, seconds = ? WHERE stage = ? AND started_at IS NOT NULL",
            utc_now(), seconds, stage);
    if (database.getChanges() == 0) {
      throw StorageError(fmt::format("run '{}': stage {} is to be finished, but was not started", state_->id, stage));
    }
  });
}

void RunStore::record(const Metric& metric) {
  KRONLAB_EXPECTS(!metric.name.empty() && !metric.unit.empty(), "metric '{}' with unit '{}': both are needed",
                  metric.name, metric.unit);
  state_->expect_started(metric.stage, "metric", metric.name);
  state_->metrics.push_back(metric);
  state_->commit_full_batch();
}

void RunStore::record_layer(const LayerRecord& layer) {
  KRONLAB_EXPECTS(!layer.layer.empty(), "a layer without a name");
  state_->expect_started(layer.stage, "layer", layer.layer);
  state_->layers.push_back(layer);
  state_->commit_full_batch();
}

void RunStore::record_evaluation(const EvaluationRecord& evaluation) {
  state_->expect_started(evaluation.stage, "an evaluation on", evaluation.dataset);
  state_->evaluations.push_back(evaluation);
  state_->commit_full_batch();
}

void RunStore::record_artifact(const std::string& path, const std::string& kind) {
  KRONLAB_EXPECTS(is_inside(path), "artifact '{}': expected a path inside the run's folder, relative to it", path);
  const fs::path file = state_->folder / path;
  std::error_code code;
  const auto bytes = fs::file_size(file, code);
  if (code) throw_filesystem("read the artifact", file, code);
  const std::string digest = sha256_of_file(file.string());
  state_->commit_patiently([&] {
    execute(state_->database,
            "INSERT OR REPLACE INTO artifact (path, kind, bytes, sha256, recorded_at) VALUES (?, ?, ?, ?, ?)", path,
            kind, static_cast<std::int64_t>(bytes), digest, utc_now());
  });
}

void RunStore::flush() {
  state_->commit_patiently([] {});
}

}  // namespace kronlab::storage
