#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <optional>

#include "framework/base/progress.hpp"
#include "framework/comm/communicator.hpp"
#include "framework/comm/watchdog.hpp"

namespace kronlab::comm {
namespace {

int environment_number(const char* name) {
  const char* text = std::getenv(name);
  return text ? std::atoi(text) : 0;
}

/// Throws where the launcher started another number of ranks than this world has.
void expect_whole_world(const Communicator& world) {
  const int slurm_tasks = environment_number("SLURM_NTASKS");
  const bool in_step = std::getenv("SLURM_STEP_ID") != nullptr || std::getenv("SLURM_PROCID") != nullptr;
  const bool by_mpirun = std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr;
  if (!slurm_tasks || (!in_step && !by_mpirun)) return;
  if (world.size() == slurm_tasks) return;
  if (world.size() == 1 && slurm_tasks > 1 && !by_mpirun) {
    throw MpiError(
        fmt::format("Slurm started {} tasks, but each is a world of one rank: launch with "
                    "'srun --mpi=pmix' or with 'mpirun' from the MPI that kronlab is linked to",
                    slurm_tasks));
  }
  throw MpiError(fmt::format(
      "the world has {} rank(s), but SLURM_NTASKS is {}: {}", world.size(), slurm_tasks,
      world.size() > slurm_tasks ? "ask Slurm for more tasks or start fewer ranks" : "start as many ranks as tasks"));
}

}  // namespace

int run(int argc, char** argv, const std::function<int(const Communicator& world)>& program) {
  int provided = 0;
  if (MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS) {
    std::cerr << "kronlab: MPI could not be initialised\n";
    return static_cast<int>(ExitCode::failed);
  }
  int code = static_cast<int>(ExitCode::failed);
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  try {
    const Communicator world(MPI_COMM_WORLD);
    if (!world.is_root()) silence_log();
    coordinate(world, [&] {
      if (world.is_root()) expect_whole_world(world);  // mpirun reaches other nodes by a step of one task each: there SLURM_NTASKS is 1
    });
    std::optional<Watchdog> watchdog;
    if (const double limit_s = watchdog_limit_s(); world.size() > 1 && limit_s > 0) watchdog.emplace(world.rank(), world.size(), limit_s);
    code = program(world);
  } catch (const CollectiveError& error) {  // the same on all ranks: root speaks for all
    if (rank == 0) std::cerr << "kronlab: " << error.what() << std::endl;
    code = static_cast<int>(exit_code(error));
  } catch (const std::exception& error) {
    int size = 1;
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    code = static_cast<int>(exit_code(error));
    if (size > 1) {
      std::cerr << "kronlab: rank " << rank << ": " << error.what() << std::endl;
      MPI_Abort(MPI_COMM_WORLD, code);
    }
    std::cerr << "kronlab: " << error.what() << std::endl;
  }
  MPI_Finalize();
  return code;
}

}  // namespace kronlab::comm
