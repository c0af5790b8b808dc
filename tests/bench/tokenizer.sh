#!/usr/bin/env bash
# Byte-level BPE against PyPI's `tokenizers` on the same file, in turn, one thread each; prints the ratio of the medians.
#   tokenizer.sh BENCH_TOKENIZER TEXT VOCAB_JSON MERGES_TXT [ROUNDS]
# $KRONLAB_BENCH_PYTHON: a Python with `tokenizers` (default: python3).
set -euo pipefail
if [ $# -lt 4 ]; then
  sed -n '2,4s/^# //p' "$0" >&2
  exit 2
fi
ours=$1 rounds=${5:-3}
files=("$2" "$3" "$4")
python=${KRONLAB_BENCH_PYTHON:-python3}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

results=$(for ((round = 0; round < rounds; ++round)); do
  OMP_NUM_THREADS=1 "$ours" "${files[@]}" 5 | sed 's/^/kronlab /'
  "$python" "$here/tokenizers_peer.py" "${files[@]}" 3 | sed 's/^/tokenizers /'
done)

median() { grep "^$1 tokens_per_second " <<<"$results" | cut -d' ' -f3 | sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }
count() { grep "^$1 tokens " <<<"$results" | cut -d' ' -f3 | sort -u; }
if [ "$(count kronlab)" != "$(count tokenizers)" ]; then
  echo "different numbers of tokens: kronlab $(count kronlab), tokenizers $(count tokenizers)" >&2
  exit 1
fi
a=$(median kronlab) b=$(median tokenizers)
echo "kronlab     $a tokens/s"
echo "tokenizers  $b tokens/s"
awk -v a="$a" -v b="$b" 'BEGIN {printf "ratio       %.2f\n", a / b}'
