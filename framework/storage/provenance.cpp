#include "framework/storage/provenance.hpp"

#include <fmt/core.h>
#include <hdf5.h>
#include <openssl/crypto.h>
#include <sched.h>
#include <sqlite3.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <string_view>

#include "framework/storage/build_info.hpp"

extern char** environ;

namespace kronlab::storage {
namespace {

/// The first value that `file` gives for `key`, as in "model name : ...".
std::string field_of(const char* file, std::string_view key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with(key)) continue;
    const auto colon = line.find(':');
    if (colon == std::string::npos) continue;
    const auto begin = line.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? std::string() : line.substr(begin);
  }
  return "unknown";
}

int allowed_cores() {
  cpu_set_t set;
  return ::sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
}

/// "node1 x2, node2 x2", by first appearance.
std::string hosts_with_counts(const std::vector<std::string>& rank_hosts) {
  std::vector<std::pair<std::string, int>> counts;
  for (const auto& host : rank_hosts) {
    const auto found = std::ranges::find(counts, host, &std::pair<std::string, int>::first);
    if (found == counts.end()) {
      counts.emplace_back(host, 1);
    } else {
      ++found->second;
    }
  }
  std::string text;
  for (const auto& [host, count] : counts) text += fmt::format("{}{} x{}", text.empty() ? "" : ", ", host, count);
  return text;
}

/// Words a shell would read back as they are.
std::string shell_words(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) {
    if (!text.empty()) text += ' ';
    const bool plain = !word.empty() && std::ranges::all_of(word, [](unsigned char c) {
      return std::isalnum(c) || std::string_view("_-./=:,+@%").find(static_cast<char>(c)) != std::string_view::npos;
    });
    if (plain) {
      text += word;
      continue;
    }
    text += '\'';
    for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
    text += '\'';
  }
  return text;
}

bool changes_a_run(std::string_view name) {
  // mpirun's own bookkeeping says nothing that the ranks and hosts do not.
  for (const char* internal : {"OMPI_MCA_orte_", "OMPI_MCA_ess", "OMPI_MCA_pmix", "OMPI_MCA_initial_wdir"}) {
    if (name.starts_with(internal)) return false;
  }
  for (const char* secret : {"TOKEN", "JWT", "SECRET", "PASSWORD", "CREDENTIAL", "_KEY"}) {
    if (name.find(secret) != std::string_view::npos) return false;
  }
  for (const char* prefix : {"OMP_", "OPENBLAS_", "KRONLAB_", "OMPI_MCA_", "SLURM_", "ONEDNN_", "DNNL_", "GOMP_"}) {
    if (name.starts_with(prefix)) return true;
  }
  return false;
}

NamedTexts environment() {
  NamedTexts texts;
  for (char** entry = environ; entry && *entry; ++entry) {
    const std::string_view text = *entry;
    const auto equals = text.find('=');
    if (equals == std::string_view::npos || !changes_a_run(text.substr(0, equals))) continue;
    texts.emplace_back(fmt::format("environment.{}", text.substr(0, equals)), text.substr(equals + 1));
  }
  std::ranges::sort(texts);
  return texts;
}

std::string hdf5_version() {
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  return fmt::format("{}.{}.{}", major, minor, release);
}

std::string system_name() {
  utsname name{};
  return ::uname(&name) == 0 ? fmt::format("{} {} {}", name.sysname, name.release, name.machine) : "unknown";
}

}  // namespace

NamedTexts provenance(const ExecutionFacts& facts) {
  NamedTexts texts = {
      {"source.commit", build_info::commit},
      {"source.dirty", build_info::dirty},
      {"source.diff_sha256", build_info::diff_sha256},
      {"build.compiler", build_info::compiler},
      {"build.type", build_info::build_type},
      {"build.flags", build_info::flags},
      {"library.mpi", facts.mpi_library},
      {"library.blas", facts.blas},
      {"library.hdf5", hdf5_version()},
      {"library.sqlite", sqlite3_libversion()},
      {"library.openssl", OpenSSL_version(OPENSSL_VERSION)},
      {"library.fmt", fmt::format("{}.{}.{}", FMT_VERSION / 10000, FMT_VERSION / 100 % 100, FMT_VERSION % 100)},
      {"machine.system", system_name()},
      {"machine.cpu", field_of("/proc/cpuinfo", "model name")},
      {"machine.memory", field_of("/proc/meminfo", "MemTotal")},
      {"execution.hosts", hosts_with_counts(facts.rank_hosts)},
      {"execution.ranks", std::to_string(facts.rank_hosts.size())},
      {"execution.threads_per_rank", std::to_string(facts.threads_per_rank)},
      {"execution.allowed_cores", std::to_string(allowed_cores())},
      {"execution.command_line", shell_words(facts.command_line)},
  };
  for (const auto& text : facts.more) texts.push_back(text);
  for (auto& text : environment()) texts.push_back(std::move(text));
  return texts;
}

}  // namespace kronlab::storage
