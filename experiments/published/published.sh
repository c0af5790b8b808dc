#!/usr/bin/env bash
# The published tables, from analysis/published.toml: published.sh [--out FOLDER]. No data and no runs are needed.
# As text, what is disputed last; with --out each also as a Markdown file of that folder. $KRONLAB_BINARY_DIR: where the programs are built.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
out=
case $# in
  0) ;;
  2) [ "$1" = --out ] || { echo "published.sh: unknown option '$1', expected --out FOLDER" >&2; exit 2; }; out=$2 ;;
  *) echo "published.sh: expected nothing or --out FOLDER" >&2; exit 2 ;;
esac
report=${KRONLAB_BINARY_DIR:-$root/build/release}/bin/kronlab-report
[ -x "$report" ] || bash "$root/experiments/setup.sh" release kronlab-report >&2
[ -z "$out" ] || mkdir -p "$out"
table() {  # SPEC
  "$report" table "$1"
  echo
  [ -z "$out" ] || "$report" table "$1" --format markdown >"$out/$(basename "$1" .toml).md"
}
for spec in "$here"/tables/*.toml; do [[ $spec = */disputed* ]] || table "$spec"; done
for spec in "$here"/tables/disputed*.toml; do table "$spec"; done
