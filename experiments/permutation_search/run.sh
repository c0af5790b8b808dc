#!/usr/bin/env bash
# Permutation search on SmolLM2-135M: run.sh [kronlab run options]
# $KRONLAB_DATA: text/novels and text/wikitext-2/wiki.test.raw. Runs that are done are not done again.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../healing/prepare.sh"
novel=$KRONLAB_DATA/text/novels/James_Tragic_1890.txt  # not held out by texts.sh: its training text has a slice of it
dd if="$novel" iflag=skip_bytes,count_bytes skip=$(($(stat -c %s "$novel") / 3)) count=45000 bs=64K status=none | sed '1d;$d' >"$text/novel.txt"
export SEARCH_MODEL=$model SEARCH_TEXT=$text
"$bin/kronlab" run "$here/smollm2.toml" "$@"
"$bin/kronlab-report" table --experiment permutation-search
