#include "framework/storage/run_reader.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "framework/storage/run_database.hpp"

namespace kronlab::storage {
namespace {

namespace fs = std::filesystem;

constexpr int reader_patience_ms = 5000;

/// A folder with a copy of a database and its journal, removed at the end.
class TemporaryCopy {
 public:
  explicit TemporaryCopy(const fs::path& database) {
    std::string pattern = (fs::temp_directory_path() / "kronlab-reader-XXXXXX").string();
    if (!::mkdtemp(pattern.data())) {
      throw StorageError(fmt::format("cannot make the temporary folder '{}': {}", pattern, std::strerror(errno)));
    }
    folder_ = pattern;
    for (const char* suffix : {"", "-journal"}) {
      const fs::path from = database.string() + suffix;
      std::error_code code;
      if (!fs::exists(from, code)) continue;
      fs::copy_file(from, folder_ / from.filename(), code);
      if (code) throw StorageError(fmt::format("cannot copy '{}': {}", from.string(), code.message()));
    }
    path_ = folder_ / database.filename();
  }
  TemporaryCopy(const TemporaryCopy&) = delete;
  TemporaryCopy& operator=(const TemporaryCopy&) = delete;
  ~TemporaryCopy() {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path folder_;
  fs::path path_;
};

double number_or_nan(const SQLite::Column& column) {
  return column.isNull() ? std::numeric_limits<double>::quiet_NaN() : column.getDouble();
}

std::optional<double> optional_number(const SQLite::Column& column) {
  return column.isNull() ? std::nullopt : std::optional(column.getDouble());
}

/// From the first nine columns of a query on `metric`, in the sequence of the members.
Metric metric_of(SQLite::Statement& row) {
  Metric metric;
  metric.name = row.getColumn(0).getString();
  metric.value = number_or_nan(row.getColumn(1));
  metric.unit = row.getColumn(2).getString();
  metric.stage = row.getColumn(3).getInt64();
  metric.step = row.getColumn(4).getInt64();
  metric.layer = row.getColumn(5).getString();
  metric.dataset = row.getColumn(6).getString();
  metric.protocol = row.getColumn(7).getString();
  metric.standard_error = optional_number(row.getColumn(8));
  return metric;
}

}  // namespace

struct RunReader::State {
  fs::path folder;
  fs::path path;
  std::unique_ptr<TemporaryCopy> copy;
  std::unique_ptr<SQLite::Database> database;
  int version = 0;
  std::string id;

  explicit State(const fs::path& folder_) : folder(folder_), path(folder_ / "run.sqlite") {
    if (!fs::exists(path)) throw StorageError(fmt::format("'{}' is no run: it has no run.sqlite", folder.string()));
    with_database(path, [&] {
      try {
        open(path, SQLite::OPEN_READONLY);
      } catch (const SQLite::Exception& error) {
        if (error.getExtendedErrorCode() != SQLITE_READONLY_ROLLBACK) throw;
        copy = std::make_unique<TemporaryCopy>(path);
        open(copy->path(), SQLite::OPEN_READWRITE);
      }
    });
  }

  void open(const fs::path& from, int flags) {
    database = std::make_unique<SQLite::Database>(from.string(), flags, reader_patience_ms, locking());
    version = checked_schema_version(*database, path);
    SQLite::Statement query(*database, "SELECT run_id FROM run");
    if (!query.executeStep()) throw StorageError(fmt::format("'{}' says nothing of its run", path.string()));
    id = query.getColumn(0).getString();
  }

  /// All rows of a query with these texts in the places of its question marks, each made into a record by `make`.
  template <class Make, class... Texts>
  auto rows(const char* sql, Make make, const Texts&... texts) const {
    return with_database(path, [&] {
      std::vector<std::decay_t<decltype(make(std::declval<SQLite::Statement&>()))>> result;
      SQLite::Statement query(*database, sql);
      [[maybe_unused]] int position = 0;
      (query.bind(++position, texts), ...);
      while (query.executeStep()) result.push_back(make(query));
      return result;
    });
  }

  NamedTexts texts(const char* sql) const {
    return rows(sql, [](SQLite::Statement& row) {
      return std::pair(row.getColumn(0).getString(), row.getColumn(1).getString());
    });
  }
};

RunReader::RunReader(const fs::path& run_folder) : state_(std::make_unique<State>(run_folder)) {}
RunReader::RunReader(RunReader&&) noexcept = default;
RunReader& RunReader::operator=(RunReader&&) noexcept = default;
RunReader::~RunReader() = default;

const std::string& RunReader::id() const { return state_->id; }
const fs::path& RunReader::folder() const { return state_->folder; }
int RunReader::schema_version() const { return state_->version; }

RunDescription RunReader::description() const {
  const char* sql = "SELECT name, label, question, paper, config_toml, cell, model_path, model_name FROM run";
  RunDescription run =
      state_
          ->rows(sql,
                 [](SQLite::Statement& row) {
                   RunDescription result;
                   int column = 0;
                   for (auto member : {&RunDescription::name, &RunDescription::label, &RunDescription::question,
                                       &RunDescription::paper, &RunDescription::config_toml, &RunDescription::cell,
                                       &RunDescription::model_path, &RunDescription::model_name}) {
                     result.*member = row.getColumn(column++).getString();
                   }
                   return result;
                 })
          .at(0);
  run.parameters = state_->texts("SELECT name, value FROM parameter ORDER BY position");
  run.provenance = state_->texts("SELECT name, value FROM provenance ORDER BY position");
  return run;
}

void note_lost_writer(RunStatus& status, bool has_numbers) {
  const bool should_run = status.state == RunState::running || status.state == RunState::created;
  if (!should_run || process_state(status.writer) != ProcessState::gone) return;
  status.state = has_numbers ? RunState::interrupted : RunState::lost;
  status.reason = "its process is gone";
}

RunStatus RunReader::status() const {
  const char* sql = "SELECT state, reason, created_at, updated_at, writer, (SELECT sum(seconds) FROM stage), EXISTS (SELECT 1 FROM metric) FROM run";
  return state_
      ->rows(sql,
             [](SQLite::Statement& row) {
               RunStatus status;
               status.state = run_state(row.getColumn(0).getString());
               status.reason = row.getColumn(1).getString();
               status.created_at = row.getColumn(2).getString();
               status.updated_at = row.getColumn(3).getString();
               status.writer = row.getColumn(4).getString();
               note_lost_writer(status, row.getColumn(6).getInt() != 0);
               const double age = seconds_of_utc(status.updated_at) - seconds_of_utc(status.created_at);
               status.seconds = optional_number(row.getColumn(5)).value_or(age);
               return status;
             })
      .at(0);
}

std::vector<StageRecord> RunReader::stages() const {
  const char* sql =
      "SELECT stage, name, started_at, finished_at, seconds FROM stage WHERE started_at IS NOT NULL ORDER BY stage";
  return state_->rows(sql, [](SQLite::Statement& row) {
    return StageRecord{row.getColumn(0).getInt64(), row.getColumn(1).getString(), row.getColumn(2).getString(),
                       row.getColumn(3).getString(), optional_number(row.getColumn(4))};
  });
}

std::vector<LayerRecord> RunReader::layers() const {
  const char* sql =
      "SELECT stage, layer, method, num_rows, num_cols, parameters_before, parameters_after, bytes_after, "
      "relative_error, weighted_error, search_value, search_bound, seconds, convergence FROM layer "
      "ORDER BY stage, rowid";
  return state_->rows(sql, [](SQLite::Statement& row) {
    LayerRecord layer;
    layer.stage = row.getColumn(0).getInt64();
    layer.layer = row.getColumn(1).getString();
    layer.method = row.getColumn(2).getString();
    layer.rows = row.getColumn(3).getInt64();
    layer.cols = row.getColumn(4).getInt64();
    layer.parameters_before = row.getColumn(5).getInt64();
    layer.parameters_after = row.getColumn(6).getInt64();
    layer.bytes_after = row.getColumn(7).getInt64();
    layer.relative_error = number_or_nan(row.getColumn(8));
    layer.weighted_error = optional_number(row.getColumn(9));
    layer.search_value = optional_number(row.getColumn(10));
    layer.search_bound = optional_number(row.getColumn(11));
    layer.seconds = number_or_nan(row.getColumn(12));
    layer.convergence = row.getColumn(13).getString();
    return layer;
  });
}

std::vector<Metric> RunReader::metrics(const std::string& prefix) const {
  // Names are UTF-8, where no byte is 255: these are the names that start so, and the index on names finds them.
  const char* sql =
      "SELECT name, value, unit, stage, step, layer, dataset, protocol, standard_error FROM metric "
      "WHERE name >= ?1 AND name < ?2 ORDER BY id";
  return state_->rows(sql, metric_of, prefix, prefix + '\xff');
}

Index RunReader::visit_metrics(Index after, const std::function<void(const Metric&)>& visit) const {
  return with_database(state_->path, [&] {
    SQLite::Statement row(*state_->database,
                          "SELECT name, value, unit, stage, step, layer, dataset, protocol, standard_error, id FROM metric WHERE id > ? ORDER BY id");
    row.bind(1, after);
    while (row.executeStep()) {
      visit(metric_of(row));
      after = row.getColumn(9).getInt64();
    }
    return after;
  });
}

std::vector<AttemptRecord> RunReader::attempts() const {
  if (state_->version < 2) return {};
  const char* sql = "SELECT number, started_at, ended_at, process, job, state, reason FROM attempt ORDER BY number";
  auto attempts = state_->rows(sql, [](SQLite::Statement& row) {
    return AttemptRecord{row.getColumn(0).getInt64(),  row.getColumn(1).getString(), row.getColumn(2).getString(), row.getColumn(3).getString(),
                         row.getColumn(4).getString(), run_state(row.getColumn(5).getString()), row.getColumn(6).getString()};
  });
  for (auto& attempt : attempts) {
    const bool is_last = attempt.number == attempts.back().number;
    if (attempt.state != RunState::running || (is_last && process_state(attempt.process) != ProcessState::gone)) continue;
    attempt.state = RunState::lost;
    attempt.reason = "its process is gone";
  }
  return attempts;
}

std::vector<EvaluationRecord> RunReader::evaluations() const {
  if (state_->version < 2) return {};
  const char* sql =
      "SELECT id, stage, step, dataset, protocol, data_sha256, weight, loss FROM evaluation "
      "LEFT JOIN window_loss ON evaluation = id ORDER BY id, window";
  std::vector<EvaluationRecord> all;
  std::int64_t last = 0;
  state_->rows(sql, [&](SQLite::Statement& row) {
    const std::int64_t id = row.getColumn(0).getInt64();
    if (all.empty() || id != last) {
      all.push_back({row.getColumn(1).getInt64(), row.getColumn(2).getInt64(), row.getColumn(3).getString(),
                     row.getColumn(4).getString(), row.getColumn(5).getString(), {}});
    }
    last = id;
    if (!row.getColumn(6).isNull()) all.back().windows.push_back({row.getColumn(6).getDouble(), number_or_nan(row.getColumn(7))});
    return true;
  });
  return all;
}

std::vector<ArtifactRecord> RunReader::artifacts() const {
  return state_->rows("SELECT path, kind, bytes, sha256 FROM artifact ORDER BY path", [](SQLite::Statement& row) {
    return ArtifactRecord{row.getColumn(0).getString(), row.getColumn(1).getString(), row.getColumn(2).getInt64(),
                          row.getColumn(3).getString()};
  });
}

std::vector<RunListing> list_run_folders(const std::string& store_path) {
  const fs::path runs = fs::path(store_path) / "runs";
  std::error_code code;
  fs::directory_iterator entries(runs, code);
  if (code) {
    throw StorageError(fmt::format("'{}' is no store of runs: '{}': {}", store_path, runs.string(), code.message()));
  }
  std::vector<RunListing> listings;
  for (const auto& entry : entries) {
    const std::string id = entry.path().filename().string();
    if (id.starts_with('.') || !entry.is_directory(code)) continue;  // a run that is being made, or no run
    listings.push_back({id, entry.path()});
  }
  std::ranges::sort(listings, {}, &RunListing::id);
  return listings;
}

}  // namespace kronlab::storage
