#include "framework/storage/run_database.hpp"

#include <signal.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <sstream>

#include "framework/storage/run_store.hpp"

namespace kronlab::storage {
namespace {

/// migrations[v] brings schema v to v + 1; 0 is the empty database. Never edit one that was released: add the next.
/// A NULL in a column of numbers is "not a number" where a value must be, and "none" where it may be absent.
constexpr std::array<const char*, run_schema_version> migrations = {R"sql(
CREATE TABLE run (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  run_id TEXT NOT NULL,
  name TEXT NOT NULL,
  label TEXT NOT NULL,
  question TEXT NOT NULL,
  paper TEXT NOT NULL,
  config_toml TEXT NOT NULL,
  cell TEXT NOT NULL,
  model_path TEXT NOT NULL,
  model_name TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('created', 'running', 'interrupted', 'done', 'failed', 'lost')),
  reason TEXT NOT NULL,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  writer TEXT NOT NULL
) STRICT;
CREATE TABLE parameter (position INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, value TEXT NOT NULL) STRICT;
CREATE TABLE provenance (position INTEGER PRIMARY KEY, name TEXT NOT NULL, value TEXT NOT NULL) STRICT;
CREATE TABLE stage (
  stage INTEGER PRIMARY KEY CHECK (stage >= -1),
  name TEXT NOT NULL,
  started_at TEXT,
  finished_at TEXT,
  seconds REAL
) STRICT;
INSERT INTO stage (stage, name) VALUES (-1, 'dense');
CREATE TABLE layer (
  stage INTEGER NOT NULL REFERENCES stage (stage) ON DELETE CASCADE,
  layer TEXT NOT NULL,
  method TEXT NOT NULL,
  num_rows INTEGER NOT NULL,
  num_cols INTEGER NOT NULL,
  parameters_before INTEGER NOT NULL,
  parameters_after INTEGER NOT NULL,
  bytes_after INTEGER NOT NULL,
  relative_error REAL,
  weighted_error REAL,
  search_value REAL,
  search_bound REAL,
  seconds REAL,
  convergence TEXT NOT NULL,
  PRIMARY KEY (stage, layer)
) STRICT;
CREATE TABLE metric (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL CHECK (name <> ''),
  value REAL,
  unit TEXT NOT NULL CHECK (unit <> ''),
  stage INTEGER NOT NULL REFERENCES stage (stage) ON DELETE CASCADE,
  step INTEGER NOT NULL,
  layer TEXT NOT NULL,
  dataset TEXT NOT NULL,
  protocol TEXT NOT NULL,
  standard_error REAL
) STRICT;
CREATE INDEX metric_by_name ON metric (name, stage, step);
CREATE INDEX metric_by_stage ON metric (stage);
CREATE TABLE artifact (
  path TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  sha256 TEXT NOT NULL,
  recorded_at TEXT NOT NULL
) STRICT;
)sql",
                                                                        R"sql(
CREATE TABLE evaluation (
  id INTEGER PRIMARY KEY,
  stage INTEGER NOT NULL REFERENCES stage (stage) ON DELETE CASCADE,
  step INTEGER NOT NULL,
  dataset TEXT NOT NULL,
  protocol TEXT NOT NULL,
  data_sha256 TEXT NOT NULL
) STRICT;
CREATE TABLE attempt (
  number INTEGER PRIMARY KEY,
  started_at TEXT NOT NULL,
  ended_at TEXT,
  process TEXT NOT NULL,
  job TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('running', 'interrupted', 'done', 'failed', 'lost')),
  reason TEXT NOT NULL
) STRICT;
CREATE INDEX evaluation_by_stage ON evaluation (stage, step);
CREATE TABLE window_loss (
  evaluation INTEGER NOT NULL REFERENCES evaluation (id) ON DELETE CASCADE,
  window INTEGER NOT NULL,
  weight REAL NOT NULL,
  loss REAL,
  PRIMARY KEY (evaluation, window)
) STRICT, WITHOUT ROWID;
)sql",
                                                                        // Only what is done again asks by stage; each metric paid for it.
                                                                        R"sql(
DROP INDEX IF EXISTS metric_by_stage;
)sql"};

void migrate(SQLite::Database& database, int from) {
  if (from == run_schema_version) return;
  SQLite::Transaction transaction(database, SQLite::TransactionBehavior::IMMEDIATE);
  for (int version = from; version < run_schema_version; ++version) {
    database.exec(migrations[static_cast<std::size_t>(version)]);
  }
  database.exec(fmt::format("PRAGMA user_version = {}", run_schema_version));
  transaction.commit();
}

/// A node that was cut off may hold a lock until its server gives it up.
constexpr int patience_ms = 60'000;

/// The busy timeout comes first: even a PRAGMA can find the database locked.
void prepare_for_writing(SQLite::Database& database) {
  database.setBusyTimeout(patience_ms);
  database.exec("PRAGMA journal_mode = DELETE");
  database.exec("PRAGMA synchronous = FULL");
  database.exec("PRAGMA foreign_keys = ON");
  database.exec("PRAGMA cache_size = -65536");  // 64 MiB: a large batch is written once, not page by page
}

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "unknown";
  return name.data();
}

/// What tells two machines of one name apart, and two groups of processes on one that do not see each other's numbers: the
/// beginning of the boot's id and the number of the namespace.
std::string machine_id() {
  std::ifstream boot("/proc/sys/kernel/random/boot_id");
  std::string id;
  boot >> id;
  struct ::stat processes {};
  const bool is_known = ::stat("/proc/self/ns/pid", &processes) == 0;
  return fmt::format("{}-{}", id.substr(0, 8), is_known ? processes.st_ino : 0);
}

/// When a process started, in clock ticks since the boot: the 22nd field of its stat; empty if it is gone.
std::string start_of_process(long pid) {
  std::ifstream stat(fmt::format("/proc/{}/stat", pid));
  std::string text((std::istreambuf_iterator<char>(stat)), {});
  const auto name_end = text.rfind(')');  // the name may hold blanks
  if (name_end == std::string::npos) return {};
  std::istringstream fields(text.substr(name_end + 1));
  std::string field;
  for (int i = 3; i <= 22; ++i) {
    fields >> field;
    if (i == 3 && field == "Z") return {};  // it ended; only its parent has not asked yet
  }
  return field;
}

}  // namespace

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text.data();
}

double seconds_of_utc(const std::string& text) {
  std::tm parts{};
  const char* end = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return end && *end == '\0' ? static_cast<double>(::timegm(&parts)) : 0.0;
}

StorageError database_error(const std::filesystem::path& path, const SQLite::Exception& error) {
  std::string advice;
  switch (error.getErrorCode()) {
    case SQLITE_FULL:
      advice = "; free some space and go on";
      break;
    case SQLITE_READONLY:
      advice = error.getExtendedErrorCode() == SQLITE_READONLY_DBMOVED ? "; it was deleted or moved while it was open"
                                                                         : "; use a store that can be written";
      break;
    case SQLITE_CANTOPEN:
      advice = "; its folder is gone or cannot be written";
      break;
    case SQLITE_IOERR:
      advice = "; the disk or the network failed, or the file system has no fcntl locks: see KRONLAB_LOCKING in framework/storage/README.md";
      break;
    case SQLITE_BUSY:
      advice = "; another program holds the database";
      break;
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
      advice = "; the file is damaged or no SQLite database";
      break;
    default:
      break;
  }
  return StorageError(
      fmt::format("'{}': SQLite: {} (code {}){}", path.string(), error.what(), error.getExtendedErrorCode(), advice));
}

std::string locking() {
  const char* wanted = std::getenv("KRONLAB_LOCKING");
  const std::string kind = wanted && *wanted ? wanted : "fcntl";
  if (kind == "fcntl") return {};
  if (kind == "none") return "unix-none";
  throw StorageError(fmt::format("KRONLAB_LOCKING is '{}', expected fcntl or none", kind));
}

void bind_optional(SQLite::Statement& statement, int position, const std::optional<double>& value) {
  if (value) {
    statement.bind(position, *value);
  } else {
    statement.bind(position);
  }
}

int checked_schema_version(SQLite::Database& database, const std::filesystem::path& path) {
  const int version = database.execAndGet("PRAGMA user_version").getInt();
  if (version > run_schema_version) {
    throw StorageError(fmt::format("'{}' has schema {}, this program knows up to {}: use a newer kronlab",
                                   path.string(), version, run_schema_version));
  }
  if (version < 1 || !database.tableExists("run")) {
    throw StorageError(fmt::format("'{}' is no record of a run (schema {})", path.string(), version));
  }
  return version;
}

SQLite::Database create_database(const std::filesystem::path& path) {
  return with_database(path, [&] {
    SQLite::Database database(path.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE, 0, locking());
    prepare_for_writing(database);
    migrate(database, 0);
    return database;
  });
}

SQLite::Database open_for_writing(const std::filesystem::path& path) {
  return with_database(path, [&] {
    SQLite::Database database(path.string(), SQLite::OPEN_READWRITE, 0, locking());
    database.setBusyTimeout(patience_ms);
    const int version = checked_schema_version(database, path);
    prepare_for_writing(database);
    const std::string health = database.execAndGet("PRAGMA quick_check(1)").getString();
    if (health != "ok") throw StorageError(fmt::format("'{}' is damaged: {}", path.string(), health));
    migrate(database, version);
    return database;
  });
}

std::string this_process() {
  const long pid = ::getpid();
  return fmt::format("{} {} {} {}", host_name(), pid, start_of_process(pid), machine_id());
}

std::string process_for_people(const std::string& process) {
  std::istringstream parts(process);
  std::string host, pid;
  parts >> host >> pid;
  return fmt::format("{} process {}", host, pid);
}

ProcessState process_state(const std::string& process) {
  if (process.empty()) return ProcessState::gone;
  std::istringstream parts(process);
  std::string host, start, machine;
  long pid = 0;
  if (!(parts >> host >> pid >> start) || host != host_name()) return ProcessState::elsewhere;
  if (parts >> machine && machine != machine_id()) return ProcessState::elsewhere;  // older records have none
  return start_of_process(pid) == start ? ProcessState::alive : ProcessState::gone;
}

}  // namespace kronlab::storage
