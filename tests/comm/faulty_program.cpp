// faulty_program FAULT: a program of several ranks in which the last rank does what it should not.
#include <unistd.h>

#include <string>

#include "framework/base/error.hpp"
#include "framework/comm/communicator.hpp"

using namespace kronlab;

/// By a name that a stack shows.
extern "C" __attribute__((noinline)) void work_that_takes_long() {
  for (int i = 0; i < 150; ++i) ::usleep(10'000);
}

int main(int argc, char** argv) {
  return comm::run(argc, argv, [&](const comm::Communicator& world) {
    const std::string fault = argc > 1 ? argv[1] : "";
    const bool is_last = world.rank() == world.size() - 1;
    if (fault == "slow") {
      if (is_last) work_that_takes_long();
      world.barrier();
    } else if (fault == "throw-in-agreement") {
      comm::coordinate(world, [&] {
        if (is_last) throw DataError("it broke here");
      });
    } else if (fault == "throw-alone") {
      if (is_last) throw DataError("it broke here");
      world.barrier();
    } else if (fault == "throw-in-waiting") {  // others wait in another call than the one that fails
      if (is_last) comm::coordinate(world, [] { throw DataError("it broke here"); });
      comm::coordinate(world, [] {});
    }
    return 0;
  });
}
