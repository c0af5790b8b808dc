#!/usr/bin/env bash
# Permutation search on SmolLM2-135M: run.sh [kronlab run options]
# $KRONLAB_DATA: text/novels and text/wikitext-2/wiki.test.raw. Runs that are done are not done again.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../healing/prepare.sh"
export SEARCH_MODEL=$model SEARCH_TEXT=$text
"$bin/kronlab" run "$here/smollm2.toml" "$@"
"$bin/kronlab-report" table --experiment permutation-search
