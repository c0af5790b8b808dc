#!/usr/bin/env bash
# Training steps with 2 threads against PyTorch on the same weights and ids, in turn.
#   train.sh BENCH_TRAIN gpt2|distill MODEL_OR_- [BATCH] [LENGTH] [STEPS] [ROUNDS] [MODE...]
# MODE: fp32, bf16 (ours), eager-fp32, compile-fp32, eager-bf16, compile-bf16 (PyTorch's); all of them if none is named.
# Prints medians of the rounds, the ratio of fp32 to eager-fp32 and of bf16 to the best of PyTorch's bf16 modes (of its
# fp32 modes where it has no bf16 on this CPU), ratios of the largest resident sets, and our share of the roofline.
# $KRONLAB_BENCH_VENV: as for evaluate.sh.
set -euo pipefail
if [ $# -lt 3 ]; then
  sed -n '2,7s/^# //p' "$0" >&2
  exit 2
fi
bench=$1 what=$2 model=$3 batch=${4:-4} steps=${6:-5} rounds=${7:-3}
length=${5:-$([ "$what" = gpt2 ] && echo 256 || echo 512)}
modes=("${@:8}")
[ ${#modes[@]} -gt 0 ] || modes=(fp32 eager-fp32 compile-fp32 bf16 eager-bf16 compile-bf16)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/torch_venv.sh"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=2
"$bench" "$what" "$model" fp32 "$batch" "$length" "$steps" "export=$scratch/model.safetensors"

run() { # MODE
  local command=("$bench" "$what" "$model" "$1" "$batch" "$length" "$steps")
  if [[ $1 == *-* ]]; then
    command=("$venv/bin/python" "$here/train_peer.py" "$scratch/model.safetensors" "$what" "$1" "$batch" "$length" "$steps")
  fi
  # the largest resident set of our own run without what the bound needs is what it prints itself
  /usr/bin/time -f "max_rss_mib %M" -o "$scratch/rss" "${command[@]}" || return 0
  awk '$1 == "max_rss_mib" {printf "max_rss_mib %.1f\n", $2 / 1024}' "$scratch/rss"
}
results=$(for ((round = 0; round < rounds; ++round)); do
  for mode in "${modes[@]}"; do run "$mode" | sed "s/^/$mode /"; done
done)
grep -v ' #' <<<"$results" >&2
awk -v rounds="$rounds" '
  function median(mode, key,   i, j, t, v, n) {
    n = count[mode, key]
    for (i = 1; i <= n; ++i) v[i] = value[mode, key, i]
    for (i = 2; i <= n; ++i) for (j = i; j > 1 && v[j - 1] > v[j]; --j) { t = v[j]; v[j] = v[j - 1]; v[j - 1] = t }
    return n ? v[int((n + 1) / 2)] : 0
  }
  function speed(mode) { return median(mode, "tokens_per_second") }
  function memory(mode) { return median(mode, mode ~ /-/ ? "max_rss_mib" : "peak_mib") }
  function best(precision) { return speed("compile-" precision) > speed("eager-" precision) ? "compile-" precision : "eager-" precision }
  function compare(ours, theirs,   difference) {
    if (!speed(ours) || !speed(theirs)) return
    printf "ratio     %-5s %.2f of %s, memory %.2f\n", ours, speed(ours) / speed(theirs), theirs, memory(ours) / memory(theirs)
    difference = median(ours, "first_loss") / median(theirs, "first_loss") - 1
    printf "losses    %-5s %.6f to %.6f, %s %.6f to %.6f; the first differ by %.1e\n", ours, median(ours, "first_loss"),
           median(ours, "last_loss"), theirs, median(theirs, "first_loss"), median(theirs, "last_loss"), difference
    if (ours == "fp32" && (difference > 1e-4 || difference < -1e-4)) { print "the first losses differ: not the same step"; failed = 1 }
  }
  $2 !~ /^#/ { value[$1, $2, ++count[$1, $2]] = $3; if (!seen[$1]++) order[++num] = $1 }
  END {
    for (i = 1; i <= num; ++i)
      if (speed(order[i])) printf "%-12s %8.1f tokens/s  %7.0f MiB\n", order[i], speed(order[i]), memory(order[i])
    compare("fp32", "eager-fp32")
    compare("bf16", speed("eager-bf16") || speed("compile-bf16") ? best("bf16") : best("fp32"))
    for (i = 1; i <= num; ++i)
      if (median(order[i], "roofline_per_second"))
        printf "roofline  %-5s %.1f tokens/s, reached %.0f %%\n", order[i], median(order[i], "roofline_per_second"),
               100 * median(order[i], "roofline_share")
    exit failed
  }' <<<"$results"
