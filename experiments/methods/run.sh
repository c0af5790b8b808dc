#!/usr/bin/env bash
# All methods on SmolLM2-135M at three sizes: run.sh [kronlab run options]
# $KRONLAB_DATA: text/novels and text/wikitext-2/wiki.test.raw. Runs that are done are not done again.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../healing/prepare.sh"
export METHODS_MODEL=$model METHODS_TEXT=$text
"$bin/kronlab" run "$here/methods.toml" "$@"
"$bin/kronlab" run "$here/embedding.toml" "$@"
for experiment in methods methods-embedding; do
  "$bin/kronlab-report" table --experiment "$experiment" --columns label size/stored_bytes divergence/kl divergence/top1_agreement eval/perplexity
done
"$bin/kronlab-report" plot --experiment methods --pareto stored_bytes --out "$KRONLAB_STORE/methods.png"
