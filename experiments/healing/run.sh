#!/usr/bin/env bash
# Heals SmolLM2-135M after compression: run.sh [kronlab run options], e.g. run.sh --set 'sweep.seeds=[0,1]'
# $KRONLAB_DATA: text/novels and text/wikitext-2/wiki.test.raw. Runs that are done are not done again, and one that was
# stopped goes on after its last checkpoint.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
: "${KRONLAB_DATA:?set it to a folder with text/novels and text/wikitext-2}"
export KRONLAB_STORE=${KRONLAB_STORE:-kronlab-store}
bin=$root/build/release/bin
[ -x "$bin/kronlab" ] || { bash "$root/experiments/setup.sh" release >&2; cmake --build "$root/build/release" --target kronlab kronlab-report >&2; }
HEALING_MODEL=$(bash "$root/experiments/quickstart/fetch_model.sh")
HEALING_TEXT=$(realpath -m "$KRONLAB_STORE")/healing-text
export HEALING_MODEL HEALING_TEXT
bash "$here/texts.sh" "$KRONLAB_DATA/text/novels" "$HEALING_TEXT"
cp "$KRONLAB_DATA/text/wikitext-2/wiki.test.raw" "$HEALING_TEXT/"
status=0
"$bin/kronlab" run "$here/healing.toml" "$@" || status=$?
[ "$status" -eq 0 ] || exit "$status"
"$bin/kronlab-report" plot --experiment healing --curves distill/kl distill/validation_perplexity --out "$KRONLAB_STORE/healing.png"
