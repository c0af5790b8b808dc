#!/usr/bin/env bash
# Makes the texts of the healing experiments from novels: texts.sh NOVELS_FOLDER OUT_FOLDER
# Slices from one third of each novel, by name: the first 24 for calibration, the last 16 held out, all others to train on.
set -euo pipefail
novels=$1 out=$2
mapfile -t files < <(find "$novels" -name '*.txt' | LC_ALL=C sort)
[ "${#files[@]}" -ge 60 ] || { echo "$novels: ${#files[@]} novels, expected at least 60" >&2; exit 2; }
mkdir -p "$out"

# slices BYTES FILE...: whole lines of about that many bytes from one third of each file
slices() {
  local bytes=$1
  for file in "${@:2}"; do
    dd if="$file" iflag=skip_bytes,count_bytes skip=$(($(stat -c %s "$file") / 3)) count="$bytes" bs=64K status=none | sed '1d;$d'
  done
}
n=${#files[@]}
slices 12000 "${files[@]:0:24}" >"$out/calibration.txt.tmp"
slices 60000 "${files[@]:24:n-40}" >"$out/training.txt.tmp"
slices 8000 "${files[@]:n-16}" >"$out/heldout.txt.tmp"
for name in calibration training heldout; do mv "$out/$name.txt.tmp" "$out/$name.txt"; done
