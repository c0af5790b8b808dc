#!/usr/bin/env bash
# From a profile of SmolLM2's MLPs to a plan at half their bytes, beside the uniform choice: run.sh [kronlab run options]
# $KRONLAB_DATA: text/novels and text/wikitext-2/wiki.test.raw. Runs that are done are not done again.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../healing/prepare.sh"
export SENSITIVITY_MODEL=$model SENSITIVITY_TEXT=$text
plan=$KRONLAB_STORE/sensitivity-plan.toml
"$bin/kronlab" profile "$here/profile.toml" "$@"
"$bin/kronlab" budget "$here/profile.toml" --out "$plan"
"$bin/kronlab" run "$plan" "$@"
"$bin/kronlab-report" table --experiment sensitivity --experiment "sensitivity plan" --all
"$bin/kronlab-report" plot --experiment sensitivity --heat-map sensitivity/kl --out "$KRONLAB_STORE/sensitivity.png"
