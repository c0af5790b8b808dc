#!/usr/bin/env bash
# Training of GPT-2 by 2 ranks of one thread against 1 rank of two threads, 16384 tokens a step, in turn.
#   train_ranks.sh BENCH_TRAIN [PRECISION] [STEPS] [ROUNDS]
# Prints both medians and the median of the rounds' ratios.
set -euo pipefail
if [ $# -lt 1 ]; then
  sed -n '2,4s/^# //p' "$0" >&2
  exit 2
fi
bench=$1 precision=${2:-fp32} steps=${3:-2} rounds=${4:-3}
. "$(dirname "${BASH_SOURCE[0]}")/compare_ranks.sh"
compare_ranks "$rounds" "$bench" gpt2 - "$precision" 4 256 "$steps" 16 no-bound
