#!/usr/bin/env bash
# The cost of a training step of GPT-2 by blocks, width, tokens and length, 2 threads.
#   train_scaling.sh BENCH_TRAIN [PRECISION] [STEPS]
# One line for each model: milliseconds a step (median), its share of the roofline, and milliseconds over products alone.
set -euo pipefail
if [ $# -lt 1 ]; then
  sed -n '2,4s/^# //p' "$0" >&2
  exit 2
fi
bench=$1 precision=${2:-fp32} steps=${3:-3}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
line() { # BATCH LENGTH BLOCKS WIDTH
  "$bench" gpt2 - "$precision" "$1" "$2" "$steps" 1 "blocks=$3" "width=$4" | awk -v tokens=$(($1 * $2)) -v what="$*" '
    $1 == "tokens_per_second" { rate = $2 } $1 == "products_per_second" { products = $2 } $1 == "roofline_share" { share = $2 }
    END { split(what, w, " "); printf "batch %2d  length %4d  blocks %2d  width %4d  %8.0f ms  roofline %.2f  products %8.0f ms\n", w[1], w[2], w[3], w[4], 1e3 * tokens / rate, share, 1e3 * tokens / products }'
}
for blocks in 3 6 12 24; do line 4 256 "$blocks" 768; done
for width in 384 768 1536; do line 4 256 6 "$width"; done
for batch in 1 2 4 8; do line "$batch" 256 6 768; done
for length in 128 256 512 1024; do line $((2048 / length)) "$length" 6 768; done
