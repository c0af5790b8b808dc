#include "tests/support/mpi_traffic.hpp"

#include <mpi.h>

#include <atomic>

namespace {

std::atomic<double> received = 0;

double bytes_of(double count, MPI_Datatype type) {
  int size = 0;
  PMPI_Type_size(type, &size);
  return count * size;
}

int size_of(MPI_Comm communicator) {
  int size = 1;
  PMPI_Comm_size(communicator, &size);
  return size;
}

int rank_in(MPI_Comm communicator) {
  int rank = 0;
  PMPI_Comm_rank(communicator, &rank);
  return rank;
}

void add(double bytes) { received.fetch_add(bytes); }

}  // namespace

namespace kronlab::testing {

double received_mpi_bytes() { return received.load(); }
void reset_mpi_traffic() { received.store(0); }

}  // namespace kronlab::testing

// Each call does what it did, and is counted. A receive is counted at its full length: the project's are never longer than
// what is sent.
extern "C" {

int MPI_Recv(void* buffer, int count, MPI_Datatype type, int source, int tag, MPI_Comm communicator, MPI_Status* status) {
  add(bytes_of(count, type));
  return PMPI_Recv(buffer, count, type, source, tag, communicator, status);
}

int MPI_Irecv(void* buffer, int count, MPI_Datatype type, int source, int tag, MPI_Comm communicator, MPI_Request* request) {
  add(bytes_of(count, type));
  return PMPI_Irecv(buffer, count, type, source, tag, communicator, request);
}

int MPI_Bcast(void* buffer, int count, MPI_Datatype type, int root, MPI_Comm communicator) {
  if (rank_in(communicator) != root) add(bytes_of(count, type));
  return PMPI_Bcast(buffer, count, type, root, communicator);
}

int MPI_Allreduce(const void* from, void* to, int count, MPI_Datatype type, MPI_Op operation, MPI_Comm communicator) {
  const double size = size_of(communicator);
  add(2 * (size - 1) / size * bytes_of(count, type));
  return PMPI_Allreduce(from, to, count, type, operation, communicator);
}

int MPI_Allgather(const void* from, int from_count, MPI_Datatype from_type, void* to, int count, MPI_Datatype type, MPI_Comm communicator) {
  add((size_of(communicator) - 1.0) * bytes_of(count, type));
  return PMPI_Allgather(from, from_count, from_type, to, count, type, communicator);
}

int MPI_Allgatherv(const void* from, int from_count, MPI_Datatype from_type, void* to, const int counts[], const int offsets[], MPI_Datatype type,
                   MPI_Comm communicator) {
  double total = 0;
  for (int rank = 0; rank < size_of(communicator); ++rank) {
    if (rank != rank_in(communicator)) total += counts[rank];
  }
  add(bytes_of(total, type));
  return PMPI_Allgatherv(from, from_count, from_type, to, counts, offsets, type, communicator);
}
}
