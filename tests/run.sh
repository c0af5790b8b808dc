#!/usr/bin/env bash
# Everything from nothing: packages, build, every test. tests/run.sh [ctest options]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# Only tests need these: a browser for the pages of kronlab-report, a cluster on one machine.
export KRONLAB_PACKAGES="chromium slurm-wlm slurm-wlm-basic-plugins munge"
bash experiments/setup.sh release
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
bash experiments/quickstart/fetch_model.sh >/dev/null || echo "== tests that need the real model will be skipped"
echo "== testing"
exec ctest --test-dir build/release --output-on-failure --parallel "$(nproc)" "$@"
