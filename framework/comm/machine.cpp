#include "framework/comm/machine.hpp"

#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <thread>

namespace kronlab::comm {
namespace {

/// The cores that this process may use, as text: '1' or '0' for each.
std::string allowed_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::string cores(CPU_SETSIZE, '0');
  if (sched_getaffinity(0, sizeof set, &set) != 0)
    return std::string(std::max(1u, std::thread::hardware_concurrency()), '1');
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores[static_cast<std::size_t>(core)] = '1';
  }
  return cores;
}

int count(const std::string& cores) { return static_cast<int>(std::ranges::count(cores, '1')); }

/// Threads that the user asked for; 0: none given.
int asked_threads() {
  const char* text = std::getenv("OMP_NUM_THREADS");
  if (!text) return 0;
  const int threads = std::atoi(text);
  if (threads < 1) throw ConfigError(fmt::format("OMP_NUM_THREADS is '{}', expected a positive number", text));
  return threads;
}

}  // namespace

std::string host_name() {
  char name[MPI_MAX_PROCESSOR_NAME];
  int length = 0;
  MPI_Get_processor_name(name, &length);
  return {name, static_cast<std::size_t>(length)};
}

std::string mpi_library() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  MPI_Get_library_version(text, &length);
  const std::string whole(text, static_cast<std::size_t>(length));
  return whole.substr(0, whole.find('\n'));
}

int threads_per_rank(const Communicator& world, Oversubscription oversubscription) {
  const int asked = coordinate(world, [] { return asked_threads(); });
  const auto hosts = world.all_gather(host_name());
  const auto cores = world.all_gather(allowed_cores());
  const auto mine = static_cast<std::size_t>(world.rank());
  std::string all(cores[mine].size(), '0');
  int sharing = 0;  // ranks of this host that may use one of this rank's cores
  std::vector<std::size_t> neighbours;
  for (std::size_t r = 0; r < hosts.size(); ++r) {
    if (hosts[r] != hosts[mine]) continue;
    neighbours.push_back(r);
    bool overlaps = false;
    for (std::size_t c = 0; c < std::min(all.size(), cores[r].size()); ++c) {
      if (cores[r][c] != '1') continue;
      all[c] = '1';
      overlaps = overlaps || cores[mine][c] == '1';
    }
    sharing += overlaps ? 1 : 0;
  }
  const int threads = asked > 0 ? asked : std::max(1, count(cores[mine]) / std::max(1, sharing));
  Index total = 0;
  const auto all_threads = world.all_gather(std::to_string(threads));
  for (const std::size_t r : neighbours) total += std::atoi(all_threads[r].c_str());
  coordinate(
      world, std::function<void()>([&] {
        if (oversubscription == Oversubscription::allowed) return;
        if (total > count(all) || threads > count(cores[mine])) {
          throw ConfigError(fmt::format(
              "{} rank(s) of {} thread(s) on '{}', but they may use {} core(s), this rank {}: start fewer ranks, set "
              "OMP_NUM_THREADS, give each rank its cores (mpirun --map-by slot:PE=N or --bind-to none), or pass "
              "--oversubscribe",
              neighbours.size(), threads, hosts[mine], count(all), count(cores[mine])));
        }
      }));
  return threads;
}

}  // namespace kronlab::comm
