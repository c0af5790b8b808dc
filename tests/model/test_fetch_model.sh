#!/usr/bin/env bash
# fetch_model.sh without a network: a file that is not the model is passed over, an absent one is said, the real one found.
set -euo pipefail
fetch=$KRONLAB_SOURCE_DIR/experiments/quickstart/fetch_model.sh
name=SmolLM2-135M-Instruct.Q4_1.gguf
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
fail() {
  echo "failed: $*" >&2
  exit 1
}

mkdir -p "$scratch/empty" "$scratch/wrong/models"
echo "not a model" >"$scratch/wrong/models/$name"
rc=0
found=$(KRONLAB_DATA=$scratch/wrong KRONLAB_CACHE=$scratch/empty "$fetch" --no-download 2>"$scratch/said") || rc=$?
[ "$rc" = 1 ] && [ -z "$found" ] || fail "a wrong file was taken: rc $rc, '$found'"
grep -q "is not the model" "$scratch/said" || fail "it was not said that the file is wrong"
grep -q "neither in" "$scratch/said" || fail "it was not said that the model is absent"

rc=0
"$fetch" --misspelt 2>"$scratch/said" || rc=$?
[ "$rc" = 2 ] || fail "an unknown option ended with $rc"

model=$("$fetch" --no-download 2>/dev/null) || exit 77
found=$(KRONLAB_DATA=$model KRONLAB_CACHE=$scratch/empty "$fetch" --no-download)
[ "$found" = "$model" ] || fail "the file itself as KRONLAB_DATA gave '$found'"
