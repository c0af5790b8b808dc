#!/usr/bin/env bash
# Part A of experiments/published on a tiny model of as many blocks: published_a_small.sh SOURCE_DIR BINARY_DIR
#
# Killed again and again, it comes to the same tables, bit for bit, as without; done once, nothing is done again.
set -euo pipefail
source=$1 binary=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/shape" "$work/build" "$work/text"
cp -r "$source/experiments" "$work/"
ln -s "$binary" "$work/build/release"
cat >"$work/shape/shape.json" <<'JSON'
{"model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 30, "num_attention_heads": 4, "num_key_value_heads": 2,
 "vocab_size": 260, "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true}
JSON
"$binary/tests/make_tiny_model" "$work/shape" "$work/shape/shape.json"
for text in calibration training heldout; do cp "$work/shape/text/calibration.txt" "$work/text/$text.txt"; done
cp "$work/shape/text/heldout.txt" "$work/text/wiki.test.raw"
a=$work/experiments/published/a
sed -i -e 's/tokens = 49152, gradient_tokens = 12288/tokens = 512, window = 64, gradient_tokens = 256/' -e 's/window = 512, holdout = 8/window = 32, holdout = 1/' \
  -e 's/window = 1024/window = 64/' -e 's/max_windows = 20/max_windows = 2/' -e 's/tokens = 67_584/tokens = 192/' -e 's/batch_tokens = 1024/batch_tokens = 64/' \
  -e 's/warmup = 5/warmup = 0/' "$a/base.toml"
sed -i 's/tokens = 2048, window = 512/tokens = 64, window = 32/' "$a/plan.toml" "$a/compactifai.toml"
sed -i 's/= 8192/= 512/' "$a/rows.toml"
export PUBLISHED_MODEL=$work/shape/model PUBLISHED_TEXT=$work/text KRONLAB_OVERSUBSCRIBE=1

# all numbers but times, without the runs' ids
numbers() {
  "$binary/bin/kronlab-report" table --experiment published-a --store "$1" --format csv --columns label size/parameters size/stored_bytes eval/perplexity distill/tokens |
    cut -d, -f2- | grep -vE '^"?dense' | LC_ALL=C sort
}

KRONLAB_STORE=$work/whole bash "$a/a.sh" >"$work/whole.txt" 2>&1 || { tail -n 40 "$work/whole.txt"; exit 1; }
for moment in 3 5 7; do
  KRONLAB_STORE=$work/killed timeout -s KILL --foreground "$moment" setsid bash "$a/a.sh" >"$work/killed.txt" 2>&1 || true
  pkill -KILL -f "$work/experiments/published" || true
done
KRONLAB_STORE=$work/killed bash "$a/a.sh" >"$work/killed.txt" 2>&1 || { tail -n 40 "$work/killed.txt"; exit 1; }
grep -q 'before)' "$work/killed.txt" || { echo "nothing had been done before"; exit 1; }
diff <(numbers "$work/whole") <(numbers "$work/killed")
[ "$(numbers "$work/whole" | grep -vc '^label')" -eq 16 ] || { echo "not all rows are there"; numbers "$work/whole"; exit 1; }

done_before=$(find "$work/whole/runs" -mindepth 1 -maxdepth 1 | wc -l)
KRONLAB_STORE=$work/whole bash "$a/a.sh" >"$work/again.txt" 2>&1 || { tail -n 40 "$work/again.txt"; exit 1; }
[ "$(find "$work/whole/runs" -mindepth 1 -maxdepth 1 | wc -l)" -eq "$done_before" ] || { echo "runs were done again"; exit 1; }
tables() { sed -n '/^Published recipes/,$p' "$1"; }
[ -n "$(tables "$work/whole.txt")" ] || { echo "no tables"; exit 1; }
diff <(tables "$work/whole.txt") <(tables "$work/again.txt")
