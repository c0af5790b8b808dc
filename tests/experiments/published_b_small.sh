#!/usr/bin/env bash
# Part B of experiments/published with all sizes cut: published_b_small.sh SOURCE_DIR BINARY_DIR
#
# Widths, shapes and windows by eight, a vocabulary of 512, two steps of the teacher, one for each stage of a row. Killed in between, and with
# another number of jobs, it comes to the same numbers, bit for bit; done once, nothing is done again.
set -euo pipefail
source=$1 binary=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/build" "$work/data"/{text/novels,text/wikitext-2,tokenizer/gpt2}
cp -r "$source/experiments" "$work/"
ln -s "$binary" "$work/build/release"
export KRONLAB_DATA=$work/data KRONLAB_OVERSUBSCRIBE=1

# 64 novels of nonsense, and a tokenizer of 260 pieces in place of GPT-2's.
"$binary/tests/make_tiny_model" "$work/tiny"
split -n l/64 -d --additional-suffix=.txt "$work/tiny/text/calibration.txt" "$work/data/text/novels/"
cp "$work/tiny/text/heldout.txt" "$work/data/text/wikitext-2/wiki.test.raw"
cp "$work/tiny/model/"{vocab.json,merges.txt} "$work/data/tokenizer/gpt2/"

b=$work/experiments/published/b
sed -E -i 's/\b128\b/16/g; s/\b256\b/32/g; s/\b512\b/64/g; s/\b1024\b/128/g; s/\b50257\b/512/g' "$b/model/config.json" "$b/teacher.toml" "$b/rows.toml"
sed -E -i 's/^tokens = .*/tokens = 512/; s/batch_tokens = 8192/batch_tokens = 256/; s/holdout = 32/holdout = 1/' "$b/teacher.toml"
sed -E -i 's/^tokens = .*/tokens = 96/; s/tokens = 49_152/tokens = 512/; s/gradient_tokens = 24_576/gradient_tokens = 256/; s/holdout = 8/holdout = 1/; s/warmup = 5/warmup = 0/;
  s/num_temperatures = 40/num_temperatures = 2/' "$b/rows.toml"

# all numbers but times, without the runs' ids
numbers() {
  "$binary/bin/kronlab-report" table --experiment published-b --store "$1" --format csv --columns label size/parameters size/stored_bytes eval/perplexity divergence/kl distill/tokens |
    cut -d, -f2- | LC_ALL=C sort
}

KRONLAB_STORE=$work/whole KRONLAB_JOBS=2 bash "$b/b.sh" >"$work/whole.txt" 2>&1 || { tail -n 60 "$work/whole.txt"; exit 1; }
grep -q ' 23 of 23 run(s) done (0 before)' "$work/whole.txt" || { echo "not all rows were done"; tail -n 60 "$work/whole.txt"; exit 1; }
sed -n '/^Published recipes/,$p' "$work/whole.txt" >"$work/tables.txt"
while read -r row; do
  grep -q "^$row " "$work/tables.txt" || { echo "no row '$row'"; cat "$work/tables.txt"; exit 1; }
done < <(sed -n '/^\[\[sweep/,$s/^name = "\(.*\)"$/\1/p' "$b/rows.toml")

for moment in 1 3; do  # in the teacher, then among the rows, on a quiet machine
  KRONLAB_STORE=$work/killed KRONLAB_JOBS=1 setsid bash "$b/b.sh" >"$work/killed.txt" 2>&1 &
  sleep "$moment"
  pkill -KILL -s $! || true
  wait $! || true
done
KRONLAB_STORE=$work/killed KRONLAB_JOBS=1 bash "$b/b.sh" >"$work/killed.txt" 2>&1 || { tail -n 60 "$work/killed.txt"; exit 1; }
diff <(numbers "$work/whole") <(numbers "$work/killed")

# again, without the exported teacher: it is exported once more, and nothing is computed
rm -r "$work"/whole/published-b/*/teacher
KRONLAB_STORE=$work/whole KRONLAB_JOBS=2 bash "$b/b.sh" >"$work/again.txt" 2>&1 || { tail -n 60 "$work/again.txt"; exit 1; }
grep -q ' 23 of 23 run(s) done (23 before)' "$work/again.txt" || { echo "rows were done again"; tail -n 60 "$work/again.txt"; exit 1; }
diff "$work/tables.txt" <(sed -n '/^Published recipes/,$p' "$work/again.txt")
