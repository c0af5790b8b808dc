#!/usr/bin/env bash
# Heals SmolLM2-135M after compression: run.sh [kronlab run options], e.g. run.sh --set 'sweep.seeds=[0,1]'
# $KRONLAB_DATA: text/novels and text/wikitext-2/wiki.test.raw. Runs that are done are not done again, and one that was
# stopped goes on after its last checkpoint.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/prepare.sh"
export HEALING_MODEL=$model HEALING_TEXT=$text
status=0
"$bin/kronlab" run "$here/healing.toml" "$@" || status=$?
[ "$status" -eq 0 ] || exit "$status"
"$bin/kronlab-report" plot --experiment healing --curves distill/kl distill/validation_perplexity --out "$KRONLAB_STORE/healing.png"
