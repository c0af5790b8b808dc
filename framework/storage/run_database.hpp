#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <filesystem>
#include <optional>
#include <string>
#include <type_traits>

#include "framework/base/error.hpp"
#include "framework/base/types.hpp"

namespace kronlab::storage {

/// "2026-11-24T05:13:00Z" of now.
std::string utc_now();
/// Seconds since 1970 of a text from `utc_now()`; 0 if it is none.
double seconds_of_utc(const std::string& text);

/// `error` with the database's path and SQLite's own words.
StorageError database_error(const std::filesystem::path& path, const SQLite::Exception& error);

/// How databases are locked: empty is SQLite's own way, by fcntl; "unix-none" where KRONLAB_LOCKING=none says that the file
/// system has no such locks. @throws StorageError on another word than fcntl or none
std::string locking();

/// Runs `work`, turning SQLite's exceptions into StorageError.
template <class Work>
auto with_database(const std::filesystem::path& path, Work&& work) {
  try {
    return work();
  } catch (const SQLite::Exception& error) {
    throw database_error(path, error);
  }
}

/// A number, or NULL where there is none.
void bind_optional(SQLite::Statement& statement, int position, const std::optional<double>& value);

/// Runs a statement with these values in the places of its question marks, ready for the next ones.
template <class... Values>
void execute_with(SQLite::Statement& statement, const Values&... values) {
  int position = 0;
  [[maybe_unused]] const auto bind = [&](const auto& value) {
    if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::optional<double>>) {
      bind_optional(statement, ++position, value);
    } else if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::string>) {
      statement.bindNoCopy(++position, value);  // it outlives the execution
    } else {
      statement.bind(++position, value);
    }
  };
  (bind(values), ...);
  statement.exec();
  statement.reset();
  if constexpr ((std::is_same_v<Values, std::string> || ...)) statement.clearBindings();
}

/// Opens run.sqlite for its one writer and brings its schema up to `run_schema_version`.
/// @throws StorageError if the schema is newer (with its number), it is no run's database, or it is damaged
SQLite::Database open_for_writing(const std::filesystem::path& path);
/// Makes an empty run.sqlite. @throws StorageError
SQLite::Database create_database(const std::filesystem::path& path);
/// The schema's number. @throws StorageError if it is no run's database or newer than this program
int checked_schema_version(SQLite::Database& database, const std::filesystem::path& path);

/// A process as a text that no other process ever has: "HOST PID START MACHINE"; MACHINE tells two hosts of one name apart.
std::string this_process();
/// Such a text for people: "HOST process PID".
std::string process_for_people(const std::string& process);
/// Whether a process named by `this_process()` still runs, as far as this host knows; no name at all is gone.
enum class ProcessState { alive, gone, elsewhere };
ProcessState process_state(const std::string& process);

}  // namespace kronlab::storage
