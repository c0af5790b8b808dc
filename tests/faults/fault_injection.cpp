// A library that does harm to `kronlab` at a chosen call (LD_PRELOAD):
//   KRONLAB_FAULT="ACTION CALL PART RANK COUNT"
// ACTION  kill: SIGKILL; fill: takes all space of the file system that holds $KRONLAB_FAULT_FILLER
// CALL    rename, sync (fsync, fdatasync), H5Dwrite, MPI_Waitall
// PART    what the path must contain, - for any
// The COUNT-th such call of the rank does it, once. $KRONLAB_FAULT_MARK, if set, is made at that moment.
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

struct Fault {
  char action[16] = "", call[16] = "", part[128] = "";
  int rank = -1, count = 0;

  Fault() {
    const char* text = std::getenv("KRONLAB_FAULT");
    if (!text || std::sscanf(text, "%15s %15s %127s %d %d", action, call, part, &rank, &count) != 5) return;
    const char* own = std::getenv("OMPI_COMM_WORLD_RANK");
    if (!own) own = std::getenv("SLURM_PROCID");
    char program[64] = "";
    if (std::FILE* file = std::fopen("/proc/self/comm", "r")) {
      if (!std::fgets(program, sizeof program, file)) program[0] = '\0';
      std::fclose(file);
    }
    if (std::strcmp(program, "kronlab\n") != 0 || (own ? std::atoi(own) : 0) != rank) count = 0;
  }
};

void mark() {
  const char* path = std::getenv("KRONLAB_FAULT_MARK");
  const int file = path ? ::open(path, O_WRONLY | O_CREAT, 0644) : -1;
  if (file >= 0) ::close(file);
}

void fill() {
  const char* path = std::getenv("KRONLAB_FAULT_FILLER");
  const int file = path ? ::open(path, O_WRONLY | O_CREAT, 0644) : -1;
  if (file < 0) return;
  char block[4096] = {};
  while (::write(file, block, sizeof block) > 0) {
  }
  while (::write(file, block, 1) > 0) {
  }
  ::close(file);
}

void at(const char* call, const char* path) {
  static Fault fault;
  if (fault.count <= 0 || std::strcmp(call, fault.call) != 0) return;
  if (std::strcmp(fault.part, "-") != 0 && !std::strstr(path, fault.part)) return;
  if (--fault.count > 0) return;
  mark();
  if (std::strcmp(fault.action, "kill") == 0) ::kill(::getpid(), SIGKILL);
  if (std::strcmp(fault.action, "fill") == 0) fill();
}

std::string path_of(int file) {
  char path[1024];
  const auto size = ::readlink(("/proc/self/fd/" + std::to_string(file)).c_str(), path, sizeof path);
  return size > 0 ? std::string(path, static_cast<std::size_t>(size)) : std::string();
}

template <class Function>
Function real(const char* name) {
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

int rename(const char* from, const char* to) noexcept {
  at("rename", to);
  return real<int (*)(const char*, const char*)>("rename")(from, to);
}

int fsync(int file) {
  at("sync", path_of(file).c_str());
  return real<int (*)(int)>("fsync")(file);
}

int fdatasync(int file) {
  at("sync", path_of(file).c_str());
  return real<int (*)(int)>("fdatasync")(file);
}

int H5Dwrite(long array, long type, long in_memory, long in_file, long properties, const void* values) {
  at("H5Dwrite", "");
  return real<int (*)(long, long, long, long, long, const void*)>("H5Dwrite")(array, type, in_memory, in_file, properties, values);
}

int MPI_Waitall(int count, void* requests, void* states) {
  at("MPI_Waitall", "");
  return real<int (*)(int, void*, void*)>("MPI_Waitall")(count, requests, states);
}
}
