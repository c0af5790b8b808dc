#!/usr/bin/env bash
# Evaluation by 2 ranks of one thread against 1 rank of two threads, in turn; prints both medians and their ratio.
#   ranks.sh BENCH_EVALUATE MODEL TEXT [PRECISION] [WINDOWS] [ROUNDS]
set -euo pipefail
if [ $# -lt 3 ]; then
  sed -n '2,3s/^# //p' "$0" >&2
  exit 2
fi
bench=$1 model=$2 text=$3 precision=${4:-fp32} windows=${5:-8} rounds=${6:-5}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
speed() { # RANKS THREADS
  OMP_NUM_THREADS=$2 mpirun -n "$1" --bind-to none "$bench" "$model" "$text" "$precision" "$windows" 1 |
    awk '$1 == "tokens_per_second" {print $2}'
}
results=$(for ((round = 0; round < rounds; ++round)); do
  echo "$(speed 2 1) $(speed 1 2)"
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
