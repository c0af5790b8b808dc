#!/usr/bin/env bash
# Part A, the published recipes on SmolLM2-135M, from nothing to the tables: a.sh [kronlab run options]
#
#   $KRONLAB_DATA      text/novels and text/wikitext-2/wiki.test.raw
#   $KRONLAB_STORE     where the record goes (default: kronlab-store in the current folder)
#   $KRONLAB_JOBS      runs side by side, which share the cores (default: 2)
#   $PUBLISHED_MODEL   another model, with $PUBLISHED_TEXT: a folder with calibration.txt, training.txt, heldout.txt, wiki.test.raw
#
# What is done is not done again; what was stopped goes on.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
case ${1:-} in -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | grep -v '^set'; exit 0 ;; esac
jobs=${KRONLAB_JOBS:-2} cores=$(nproc)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores > jobs ? cores / jobs : 1))}  # a run alone too: as many threads, the same bits
if [ -n "${PUBLISHED_MODEL:-}" ]; then
  bin=$here/../../../build/release/bin
  export KRONLAB_STORE=${KRONLAB_STORE:-kronlab-store}
else
  . "$here/../../healing/prepare.sh"
  export PUBLISHED_MODEL=$model PUBLISHED_TEXT=$text
  echo "== the dense model against the reference numbers" >&2
  "$bin/kronlab" run "$here/baseline.toml" "$@"
fi
run() { "$bin/kronlab" run --jobs "$jobs" "$@"; }

# plan FILE LABEL SEEDS [options]: from the profile of FILE to runs of its plan, which stand among the rows
plan() {
  local file=$here/$1.toml plan=$KRONLAB_STORE/published-a-$1.toml label=$2 seeds=$3
  shift 3
  "$bin/kronlab" profile --jobs "$jobs" "$file" "$@"
  "$bin/kronlab" budget "$file" --out "$plan" "$@"
  run "$plan" --set experiment.name=published-a --set "sweep.variants=[{ name = \"$label\" }]" --set "sweep.seeds=$seeds"
}

echo "== the recipes" >&2
run "$here/rows.toml" "$@"
echo "== CompactifAI: a profile, a plan, its run" >&2
plan compactifai "CompactifAI: MPO by sensitivity" '[0]' "$@"
echo "== two-sided SVD by sensitivity: a profile, a plan, its runs" >&2
plan plan "two-sided SVD by sensitivity" '[0, 1]' "$@"

for table in rows permutation objective losses head against_published; do
  echo
  "$bin/kronlab-report" table "$here/tables/$table.toml"
done
"$bin/kronlab-report" plot --experiment published-a --pareto parameters --dataset "held-out novels" --dataset WikiText-2 --out "$KRONLAB_STORE/published-a.png"
