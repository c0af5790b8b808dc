# Sourced: compare_ranks ROUNDS COMMAND...: runs a program that prints `tokens_per_second N` by 2 ranks of one thread and by
# 1 rank of two threads, in turn, and prints both medians and the median of the rounds' ratios.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
compare_ranks() {
  local rounds=$1 results
  shift
  speed() { # RANKS THREADS COMMAND...
    OMP_NUM_THREADS=$2 mpirun -n "$1" --bind-to none "${@:3}" | awk '$1 == "tokens_per_second" {print $2}'
  }
  results=$(for ((round = 0; round < rounds; ++round)); do
    echo "$(speed 2 1 "$@") $(speed 1 2 "$@")"
  done)
  echo "$results" | awk '
    function median(v, n,   i, j, t) {
      for (i = 2; i <= n; ++i) for (j = i; j > 1 && v[j - 1] > v[j]; --j) { t = v[j]; v[j] = v[j - 1]; v[j - 1] = t }
      return v[int((n + 1) / 2)]
    }
    { a[NR] = $1; b[NR] = $2; r[NR] = $1 / $2 }
    END {
      printf "2 ranks x 1 thread   %.1f tokens/s\n1 rank x 2 threads   %.1f tokens/s\n", median(a, NR), median(b, NR)
      printf "ratio                %.3f (median of the rounds)\n", median(r, NR)
    }'
}
