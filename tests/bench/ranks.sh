#!/usr/bin/env bash
# Evaluation by 2 ranks of one thread against 1 rank of two threads, in turn; prints both medians and their ratio.
#   ranks.sh BENCH_EVALUATE MODEL TEXT [PRECISION] [WINDOWS] [ROUNDS]
set -euo pipefail
if [ $# -lt 3 ]; then
  sed -n '2,3s/^# //p' "$0" >&2
  exit 2
fi
bench=$1 model=$2 text=$3 precision=${4:-fp32} windows=${5:-8} rounds=${6:-5}
. "$(dirname "${BASH_SOURCE[0]}")/compare_ranks.sh"
compare_ranks "$rounds" "$bench" "$model" "$text" "$precision" "$windows" 1
