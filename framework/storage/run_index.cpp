#include "framework/storage/run_index.hpp"

#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "framework/base/progress.hpp"
#include "framework/storage/run_database.hpp"
#include "framework/storage/run_results.hpp"

namespace kronlab::storage {
namespace {

namespace fs = std::filesystem;

constexpr int index_version = 1;
constexpr std::int64_t settled_ns = 2'000'000'000;  // a file this old when it was read has not changed since unseen

constexpr const char* schema = R"sql(
CREATE TABLE run (
  id TEXT PRIMARY KEY,
  signature TEXT NOT NULL,
  problem TEXT NOT NULL,
  name TEXT NOT NULL,
  label TEXT NOT NULL,
  question TEXT NOT NULL,
  model TEXT NOT NULL,
  cell TEXT NOT NULL,
  methods TEXT NOT NULL,
  state TEXT NOT NULL,
  reason TEXT NOT NULL,
  created TEXT NOT NULL,
  updated TEXT NOT NULL,
  writer TEXT NOT NULL,
  seconds REAL,
  perplexity REAL,
  standard_error REAL,
  stage INTEGER,
  step INTEGER,
  dataset TEXT NOT NULL,
  protocol TEXT NOT NULL
) STRICT;
CREATE INDEX run_by_cell ON run (cell);
CREATE TABLE parameter (
  run TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  name TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (run, position)
) STRICT, WITHOUT ROWID;
)sql";

constexpr const char* all_columns =
    "id, signature, problem, name, label, question, model, cell, methods, state, reason, created, updated, writer, seconds, "
    "perplexity, standard_error, stage, step, dataset, protocol";

struct Entry {
  IndexedRun run;
  std::string signature;  ///< empty: read it again
};

/// Time and size of a run's file, and whether it was changed long enough ago to be believed.
struct FileState {
  std::string signature;
  bool is_settled = false;
};

FileState file_state(const fs::path& folder) {
  struct ::stat found {};
  if (::stat((folder / "run.sqlite").c_str(), &found) != 0) return {};
  std::timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  const auto in_ns = [](const std::timespec& time) { return time.tv_sec * std::int64_t{1'000'000'000} + time.tv_nsec; };
  const std::int64_t changed_ns = in_ns(found.st_mtim);
  return {fmt::format("{} {}", changed_ns, found.st_size), in_ns(now) - changed_ns >= settled_ns};
}

std::optional<Metric> headline(const std::vector<Metric>& metrics) {
  const Metric* best = nullptr;
  for (const auto& metric : metrics) {
    if (metric.name != "eval/perplexity" || !metric.layer.empty()) continue;
    if (!best || metric.stage > best->stage) best = &metric;
  }
  if (!best) return std::nullopt;
  return last_metric(metrics, measure_of(*best), best->stage, best->stage);
}

IndexedRun read_run(const RunListing& listing) {
  IndexedRun run;
  run.id = listing.id, run.folder = listing.folder;
  try {
    const RunReader reader(listing.folder);
    auto description = reader.description();
    run.name = std::move(description.name), run.label = std::move(description.label);
    run.question = std::move(description.question), run.model_name = std::move(description.model_name);
    run.cell = std::move(description.cell), run.parameters = std::move(description.parameters);
    std::set<std::string> methods;
    for (const auto& layer : reader.layers()) methods.insert(layer.method);
    run.methods = fmt::format("{}", fmt::join(methods, ", "));
    run.status = reader.status();
    run.headline = headline(reader.metrics("eval/perplexity"));
  } catch (const Error& error) {
    run = {};
    run.id = listing.id, run.folder = listing.folder, run.problem = error.what();
  }
  return run;
}

void insert(SQLite::Database& database, const Entry& entry) {
  const auto& [run, signature] = entry;
  SQLite::Statement statement(
      database, fmt::format("INSERT OR REPLACE INTO run ({}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", all_columns));
  int at = 0;
  for (const auto* text : {&run.id, &signature, &run.problem, &run.name, &run.label, &run.question, &run.model_name, &run.cell, &run.methods})
    statement.bind(++at, *text);
  statement.bind(++at, to_string(run.status.state));
  for (const auto* text : {&run.status.reason, &run.status.created_at, &run.status.updated_at, &run.status.writer}) statement.bind(++at, *text);
  statement.bind(++at, run.status.seconds);
  const auto& headline = run.headline;
  bind_optional(statement, ++at, headline ? std::optional(headline->value) : std::nullopt);
  bind_optional(statement, ++at, headline ? headline->standard_error : std::nullopt);
  statement.bind(++at, headline ? headline->stage : -1);
  statement.bind(++at, headline ? headline->step : -1);
  statement.bind(++at, headline ? headline->dataset : "");
  statement.bind(++at, headline ? headline->protocol : "");
  statement.exec();
  SQLite::Statement parameter(database, "INSERT INTO parameter (run, position, name, value) VALUES (?, ?, ?, ?)");
  std::int64_t position = 0;
  for (const auto& [name, value] : run.parameters) execute_with(parameter, run.id, position++, name, value);
}

Entry entry_of(SQLite::Statement& row) {
  Entry entry;
  auto& run = entry.run;
  int at = 0;
  for (auto* text : {&run.id, &entry.signature, &run.problem, &run.name, &run.label, &run.question, &run.model_name, &run.cell, &run.methods})
    *text = row.getColumn(at++).getString();
  run.status.state = run_state(row.getColumn(at++).getString());
  for (auto* text : {&run.status.reason, &run.status.created_at, &run.status.updated_at, &run.status.writer}) *text = row.getColumn(at++).getString();
  run.status.seconds = row.getColumn(at++).getDouble();
  const auto perplexity = row.getColumn(at++), error = row.getColumn(at++);
  const std::int64_t stage = row.getColumn(at++).getInt64(), step = row.getColumn(at++).getInt64();
  if (step >= 0) {
    Metric metric;
    metric.name = "eval/perplexity", metric.stage = stage, metric.step = step;
    metric.value = perplexity.isNull() ? std::numeric_limits<double>::quiet_NaN() : perplexity.getDouble();
    if (!error.isNull()) metric.standard_error = error.getDouble();
    metric.dataset = row.getColumn(at++).getString(), metric.protocol = row.getColumn(at++).getString();
    run.headline = std::move(metric);
  }
  return entry;
}

using Entries = std::map<std::string, Entry>;

Entries read_entries(SQLite::Database& database) {
  Entries entries;
  if (database.execAndGet("PRAGMA user_version").getInt() != index_version) return entries;
  SQLite::Statement query(database, fmt::format("SELECT {} FROM run", all_columns));
  while (query.executeStep()) {
    Entry entry = entry_of(query);
    const std::string id = entry.run.id;
    entries.emplace(id, std::move(entry));
  }
  SQLite::Statement parameters(database, "SELECT run, name, value FROM parameter ORDER BY run, position");
  while (parameters.executeStep()) {
    const auto found = entries.find(parameters.getColumn(0).getString());
    if (found != entries.end()) found->second.run.parameters.emplace_back(parameters.getColumn(1).getString(), parameters.getColumn(2).getString());
  }
  return entries;
}

/// What the index knows; nothing, with a warning, where it cannot be read.
Entries known_entries(const fs::path& path) {
  std::error_code code;
  if (!fs::exists(path, code)) return {};
  try {
    return with_database(path, [&] {
      SQLite::Database database(path.string(), SQLite::OPEN_READONLY, 5000, locking());
      return read_entries(database);
    });
  } catch (const Error& error) {
    log_warning(fmt::format("the index is not used: {}; `kronlab-report index` makes it anew", error.what()));
    return {};
  }
}

/// Whether a run was killed since: its file says nothing of that.
bool ended_unseen(const RunStatus& status) {
  const bool should_run = status.state == RunState::running || status.state == RunState::created;
  return should_run && process_state(status.writer) == ProcessState::gone;
}

/// The entry of a run folder, from the index if nothing changed since. @return whether it was read anew
bool refresh(Entry& entry, const RunListing& listing, const Entries& known) {
  const auto found = known.find(listing.id);
  const FileState file = file_state(listing.folder);  // before it is read: what is written meanwhile is seen next time
  const bool is_known = found != known.end() && !found->second.signature.empty() && found->second.signature == file.signature;
  if (is_known && !ended_unseen(found->second.run.status)) {
    entry = found->second;
    entry.run.folder = listing.folder;
    return false;
  }
  entry.signature = file.is_settled ? file.signature : "";
  entry.run = read_run(listing);
  return true;
}

void write_new(const fs::path& path, const std::vector<Entry>& entries) {
  const fs::path temporary = path.string() + fmt::format(".{}.tmp", ::getpid());
  std::error_code ignored;
  fs::remove(temporary, ignored);
  with_database(temporary, [&] {
    SQLite::Database database(temporary.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE, 0, locking());
    database.exec("PRAGMA journal_mode = OFF");  // a file of its own until it is whole
    SQLite::Transaction transaction(database);
    database.exec(schema);
    database.exec(fmt::format("PRAGMA user_version = {}", index_version));
    for (const auto& entry : entries) insert(database, entry);
    transaction.commit();
  });
  std::error_code code;
  fs::rename(temporary, path, code);
  if (!code) return;
  fs::remove(temporary, ignored);
  throw StorageError(fmt::format("cannot write '{}': {}", path.string(), code.message()));
}

void write_changes(const fs::path& path, const std::vector<const Entry*>& changed, const std::vector<std::string>& gone) {
  with_database(path, [&] {
    SQLite::Database database(path.string(), SQLite::OPEN_READWRITE, 10'000, locking());
    database.exec("PRAGMA foreign_keys = ON");
    SQLite::Transaction transaction(database, SQLite::TransactionBehavior::IMMEDIATE);
    SQLite::Statement remove(database, "DELETE FROM run WHERE id = ?");
    for (const auto& id : gone) execute_with(remove, id);
    for (const auto* entry : changed) {
      execute_with(remove, entry->run.id);
      insert(database, *entry);
    }
    transaction.commit();
  });
}

fs::path index_path(const std::string& store_path) { return fs::path(store_path) / "index.sqlite"; }

}  // namespace

struct RunCache::State {
  std::string store_path;
  std::optional<Entries> known;  ///< none before the first question
};

RunCache::RunCache(std::string store_path) : state_(std::make_unique<State>(State{std::move(store_path), std::nullopt})) {}
RunCache::~RunCache() = default;

std::vector<IndexedRun> RunCache::runs() {
  const auto listings = list_run_folders(state_->store_path);
  auto& known = state_->known;
  if (!known) known = known_entries(index_path(state_->store_path));
  std::vector<IndexedRun> runs;
  for (const auto& listing : listings) {
    Entry entry;
    const bool is_new = refresh(entry, listing, *known);
    if (is_new) known->insert_or_assign(listing.id, entry);
    runs.push_back(std::move(entry.run));
  }
  return runs;
}

std::vector<IndexedRun> indexed_runs(const std::string& store_path) { return RunCache(store_path).runs(); }

IndexUpdate update_index(const std::string& store_path, bool from_nothing, const std::function<void(Index, Index)>& on_read) {
  const auto path = index_path(store_path);
  const auto listings = list_run_folders(store_path);
  const auto known = from_nothing ? Entries() : known_entries(path);
  std::vector<Entry> entries(listings.size());
  std::vector<const Entry*> changed;
  IndexUpdate update;
  for (std::size_t i = 0; i < listings.size(); ++i) {
    if (refresh(entries[i], listings[i], known)) {
      ++update.read;
      changed.push_back(&entries[i]);
    } else {
      ++update.unchanged;
    }
    if (on_read) on_read(static_cast<Index>(i + 1), static_cast<Index>(listings.size()));
  }
  std::vector<std::string> gone;
  for (const auto& [id, entry] : known) {
    if (!std::ranges::binary_search(listings, id, {}, &RunListing::id)) gone.push_back(id);
  }
  update.gone = static_cast<Index>(gone.size());
  if (known.empty()) {
    write_new(path, entries);
  } else if (!changed.empty() || !gone.empty()) {
    write_changes(path, changed, gone);
  }
  return update;
}

std::vector<IndexedRun> runs_where(std::vector<IndexedRun> runs, const std::string& expression) {
  if (expression.find(';') != std::string::npos) throw ConfigError(fmt::format("--where: '{}': expected one expression, found ';'", expression));
  SQLite::Database database(":memory:", SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
  database.exec(schema);
  {
    SQLite::Transaction transaction(database);
    for (const auto& run : runs) insert(database, {run, ""});
    transaction.commit();
  }
  // parameter(NAME) is of the row that is looked at, which only a subquery can say: it is written as one.
  std::string text;
  for (std::string_view rest = expression; !rest.empty();) {
    const auto at = rest.find("parameter(");
    text += rest.substr(0, at);
    if (at == std::string_view::npos) break;
    rest.remove_prefix(at + 10);
    const auto end = rest.find(')');
    if (end == std::string_view::npos) throw ConfigError(fmt::format("--where: '{}': parameter( without )", expression));
    std::string name(rest.substr(0, end));
    if (name.find('\'') != std::string::npos) throw ConfigError(fmt::format("--where: parameter({}): expected a name without quotes", name));
    text += fmt::format("(SELECT value FROM parameter WHERE run = id AND name = '{}')", name);
    rest.remove_prefix(end + 1);
  }
  try {
    SQLite::Statement query(database, "SELECT id FROM run WHERE (" + text + ")");
    std::set<std::string> chosen;
    while (query.executeStep()) chosen.insert(query.getColumn(0).getString());
    std::erase_if(runs, [&](const IndexedRun& run) { return !chosen.contains(run.id); });
  } catch (const SQLite::Exception& error) {
    throw ConfigError(fmt::format("--where: '{}' is no SQL expression: {}", expression, error.what()));
  }
  return runs;
}

}  // namespace kronlab::storage
