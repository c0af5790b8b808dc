#!/usr/bin/env bash
# From nothing to a table and a plot: installs what is missing, builds, fetches a real model and a text, compresses the model
# by four methods on all cores, and shows what each costs. Run again, it does only what is missing.
#
#   run.sh [options of kronlab run, e.g. --set stage.0.layers='["layers.*.mlp.*"]']
#
#   $KRONLAB_STORE     where the record goes (default: kronlab-store in the current folder)
#   $KRONLAB_CACHE     where model and text are kept (default: ~/.cache/kronlab)
#   $QUICKSTART_MODEL  another model: a Hugging Face folder or a .gguf file
#   $QUICKSTART_TEXT   another text: a folder with calibration.txt and heldout.txt
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
case ${1:-} in -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | grep -v '^set'; exit 0 ;; esac
export KRONLAB_STORE=${KRONLAB_STORE:-$PWD/kronlab-store}

bash "$root/experiments/setup.sh" release kronlab kronlab-report
bin=$root/build/release/bin
QUICKSTART_MODEL=${QUICKSTART_MODEL:-$(bash "$here/fetch_model.sh")}
QUICKSTART_TEXT=${QUICKSTART_TEXT:-$(bash "$here/fetch_text.sh")}
export QUICKSTART_MODEL QUICKSTART_TEXT

# A few ranks share the cores; each holds a copy of the model.
cores=$(nproc)
ranks=$((cores < 4 ? cores : 4))
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores / ranks))}
if [ "$(id -u)" -eq 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi

echo "== compressing on $ranks rank(s) of $OMP_NUM_THREADS thread(s); the record is $KRONLAB_STORE"
mpirun -n "$ranks" --bind-to none "$bin/kronlab" run "$here/quickstart.toml" "$@"

echo "== plotting"
"$bin/kronlab-report" plot --experiment quickstart --out "$KRONLAB_STORE/quickstart.png"
echo "the plot is $KRONLAB_STORE/quickstart.png; more: $bin/kronlab-report --help"
