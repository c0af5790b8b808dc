#!/usr/bin/env bash
# Part B, the published recipes on a small GPT-2, from nothing to the tables: b.sh [kronlab run options, for the rows]
#
#   $KRONLAB_DATA      text/novels, text/wikitext-2/wiki.test.raw and tokenizer/gpt2
#   $KRONLAB_STORE     where the record goes, and the teacher (default: kronlab-store in the current folder)
#   $KRONLAB_JOBS      ranks of the teacher's training, then runs side by side, of one thread each (default: a core each, at most 4)
#
# What is done is not done again; what was stopped goes on. Every number but times is the same for any number of jobs.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
case ${1:-} in -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | grep -v '^set'; exit 0 ;; esac
: "${KRONLAB_DATA:?set it to a folder with text/novels, text/wikitext-2 and tokenizer/gpt2}"
export KRONLAB_STORE=${KRONLAB_STORE:-kronlab-store}
bin=$root/build/release/bin
[ -x "$bin/kronlab" ] && [ -x "$bin/kronlab-report" ] || bash "$root/experiments/setup.sh" release kronlab kronlab-report >&2
cores=$(nproc)
jobs=${KRONLAB_JOBS:-$((cores < 4 ? cores : 4))}
export OMP_NUM_THREADS=1
if [ "$(id -u)" -eq 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
work=$(realpath -m "$KRONLAB_STORE")/published-b

# The texts of the healing experiments, and for the teacher whole novels: all but the 16 that are held out.
novels=$KRONLAB_DATA/text/novels
export PUBLISHED_B_TEXT=$work/text
bash "$root/experiments/healing/texts.sh" "$novels" "$PUBLISHED_B_TEXT"
find "$novels" -name '*.txt' -print0 | LC_ALL=C sort -z | head -z -n -16 | xargs -0 cat >"$PUBLISHED_B_TEXT/teacher.txt.tmp"
mv "$PUBLISHED_B_TEXT/teacher.txt.tmp" "$PUBLISHED_B_TEXT/teacher.txt"
cp -f "$KRONLAB_DATA/text/wikitext-2/wiki.test.raw" "$PUBLISHED_B_TEXT/"

echo "== the teacher" >&2
export PUBLISHED_B_MODEL=$work/start
mkdir -p "$PUBLISHED_B_MODEL"
cp -f "$here/model/config.json" "$KRONLAB_DATA/tokenizer/gpt2/vocab.json" "$KRONLAB_DATA/tokenizer/gpt2/merges.txt" "$PUBLISHED_B_MODEL/"
mpirun -n "$jobs" --bind-to none "$bin/kronlab" train "$here/teacher.toml" --json >"$work/teacher.json"
run=$(python3 -c 'import json, sys; print(json.load(sys.stdin)["runs"][0]["id"])' <"$work/teacher.json")
export PUBLISHED_B_MODEL=$work/$run/teacher
[ -f "$PUBLISHED_B_MODEL/config.json" ] || "$bin/kronlab" export "$run" --format dense --out "$PUBLISHED_B_MODEL"  # config.json is its last file

echo "== the recipes" >&2
"$bin/kronlab" run "$here/rows.toml" --jobs "$jobs" "$@"

for table in rows permutation objective steps head; do
  echo
  "$bin/kronlab-report" table "$here/tables/$table.toml"
done
"$bin/kronlab-report" plot --experiment published-b --pareto parameters --out "$KRONLAB_STORE/published-b.png"
