#!/usr/bin/env bash
# Prints a folder that holds calibration.txt and heldout.txt: English prose about databases, from a Debian package.
# Looked for in $KRONLAB_CACHE (default ~/.cache/kronlab), else made there from the package, which is not installed.
set -euo pipefail
package=postgresql-doc-15
cache=${KRONLAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kronlab}
folder=$cache/text-$package
if [ -s "$folder/calibration.txt" ] && [ -s "$folder/heldout.txt" ]; then
  echo "$folder"
  exit 0
fi

fail() { echo "fetch_text: $*" >&2; exit 1; }
command -v html2text >/dev/null || fail "needs html2text (experiments/setup.sh installs it)"
mkdir -p "$cache"
work=$(mktemp -d "$cache/text-XXXXXX")
trap 'rm -rf "$work"' EXIT
pages=/usr/share/doc/$package/html
if [ ! -d "$pages" ]; then
  echo "== fetching the text (Debian package $package, 2 MB)" >&2
  (cd "$work" && apt-get download -q "$package" >apt.log 2>&1) || { cat "$work/apt.log" >&2; fail "the package $package cannot be downloaded: run apt-get update"; }
  dpkg-deb -x "$work"/*.deb "$work/x"
  pages=$work/x$pages
fi

# Prose, not reference pages: those are mostly syntax. Every fifth page is held out.
number=0
find "$pages" -name '*.html' | LC_ALL=C sort | grep -vE '/(sql|app|infoschema|release|features|keywords|errcodes|bookindex|view|catalog|ecpg)[^/]*$' | while read -r page; do
  number=$((number + 1))
  target=calibration
  [ $((number % 5)) -ne 0 ] || target=heldout
  html2text -utf8 -nobs -width 100 "$page" 2>/dev/null | iconv -c -f utf-8 -t utf-8 | grep -avE '^(=+|<\?xml.*|Prev.*|.*(Home|Next) *)$' >>"$work/$target.txt" || true
done
[ -s "$work/heldout.txt" ] || fail "no text came out of $pages"
mkdir -p "$folder"
mv "$work/calibration.txt" "$work/heldout.txt" "$folder"
echo "$folder"
