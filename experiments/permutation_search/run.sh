#!/usr/bin/env bash
# Permutation search on SmolLM2-135M: run.sh [kronlab run options]
# $KRONLAB_DATA: text/novels and text/wikitext-2/wiki.test.raw. Runs that are done are not done again.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
: "${KRONLAB_DATA:?set it to a folder with text/novels and text/wikitext-2}"
export KRONLAB_STORE=${KRONLAB_STORE:-kronlab-store}
bin=$root/build/release/bin
[ -x "$bin/kronlab" ] || { bash "$root/experiments/setup.sh" release >&2; cmake --build "$root/build/release" --target kronlab kronlab-report >&2; }
SEARCH_MODEL=$(bash "$root/experiments/quickstart/fetch_model.sh")
SEARCH_TEXT=$(realpath -m "$KRONLAB_STORE")/healing-text
export SEARCH_MODEL SEARCH_TEXT
bash "$root/experiments/healing/texts.sh" "$KRONLAB_DATA/text/novels" "$SEARCH_TEXT"
cp "$KRONLAB_DATA/text/wikitext-2/wiki.test.raw" "$SEARCH_TEXT/"
"$bin/kronlab" run "$here/smollm2.toml" "$@"
"$bin/kronlab-report" table --experiment permutation-search
