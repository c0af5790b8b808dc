#!/usr/bin/env bash
# Evaluation of a LLaMA model, windows of 1024, 2 threads, against PyTorch on the same weights, in turn.
#   evaluate.sh BENCH_EVALUATE BENCH_EXPORT MODEL TEXT [PRECISION] [WINDOWS] [ROUNDS] [eager] [compile]
# Prints the medians, their ratio, and our share of the bound that the model's products set alone.
# $KRONLAB_BENCH_VENV: where PyTorch is installed from PyPI (default ~/.cache/kronlab/bench-venv; 6 GB, made if absent).
set -euo pipefail
if [ $# -lt 4 ]; then
  sed -n '2,5s/^# //p' "$0" >&2
  exit 2
fi
bench=$1 export=$2 model=$3 text=$4 precision=${5:-fp32} windows=${6:-4} rounds=${7:-3}
modes=("${@:8}")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/torch_venv.sh"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$export" "$model" "$text" "$scratch/model.safetensors"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
results=$(for ((round = 0; round < rounds; ++round)); do
  OMP_NUM_THREADS=2 "$bench" "$model" "$text" "$precision" "$windows" 1 | sed 's/^/kronlab /'
  OMP_NUM_THREADS=2 "$venv/bin/python" "$here/torch_peer.py" "$scratch/model.safetensors" "$windows" "$precision" 1 "${modes[@]:-eager}" | sed 's/^/torch /'
done)
echo "$results" >&2
median() { grep "^$1 " <<<"$results" | cut -d' ' -f3 | sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }
ours=$(median "kronlab tokens_per_second") theirs=$(median "torch tokens_per_second") bound=$(median "kronlab roofline_per_second")
echo "kronlab   $ours tokens/s"
echo "torch     $theirs tokens/s"
awk -v a="$ours" -v b="$theirs" -v c="$bound" 'BEGIN {printf "ratio     %.2f\nroofline  %.0f tokens/s (products and attention at the rate of products), reached %.0f %%\n", a / b, c, 100 * a / c}'
