#!/usr/bin/env bash
# The quickstart's own script on a tiny model: quickstart_small.sh SOURCE_DIR BINARY_DIR
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$2/tests/make_tiny_model" "$work"
export QUICKSTART_MODEL=$work/model QUICKSTART_TEXT=$work/text KRONLAB_STORE=$work/store KRONLAB_OVERSUBSCRIBE=1
small=(--set 'stage.0.layers=["layers.*.mlp.*"]' --set data.calibration.tokens=1024 --set data.calibration.window=64
  --set data.distillation.window=32 --set evaluate.0.protocol.window=64 --set evaluate.0.protocol.stride=64)

cd "$work"
bash "$1/experiments/quickstart/run.sh" "${small[@]}" >first.txt 2>log.txt || { cat first.txt log.txt; exit 1; }
for row in dense svd whitened-svd kronecker 'permuted kronecker' 'whitened-svd, healed'; do
  grep -q "^$row " first.txt || { echo "the table has no row '$row'"; cat first.txt; exit 1; }
done
[ "$(head -c 4 store/quickstart.png | tail -c 3)" = PNG ] || { echo "no plot"; exit 1; }

# again: nothing is done twice, and the table is the same
bash "$1/experiments/quickstart/run.sh" "${small[@]}" >second.txt 2>log.txt || { cat second.txt log.txt; exit 1; }
[ "$(ls store/runs | wc -l)" -eq 5 ] || { echo "runs were done again"; ls store/runs; exit 1; }
[ "$(grep -c 'done before' log.txt)" -eq 5 ] || { echo "not all runs were known"; cat log.txt; exit 1; }
table() { grep -A99 '^run  ' "$1" | grep -v 'run(s) done'; }  # but the line that says what was done before
diff <(table first.txt) <(table second.txt)
