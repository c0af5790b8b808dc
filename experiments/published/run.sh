#!/usr/bin/env bash
# The published table, and the same recipes measured: run.sh published | a | b [kronlab run options]
#
# published: the papers' own tables, from analysis/published.toml, with source and protocol. Needs the programs only.
# a: the recipes on SmolLM2-135M-Instruct. b: on a small GPT-2 that is trained here first.
# a and b read $KRONLAB_DATA (text/novels, text/wikitext-2/wiki.test.raw; b also tokenizer/gpt2). What is done is not done again, what
# was stopped goes on; both end with their tables.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
part=${1:-}
[ $# -eq 0 ] || shift
case "$part" in
  published) exec bash "$here/published.sh" "$@" ;;
  a | b) exec bash "$here/$part/$part.sh" "$@" ;;
  -h | --help) sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" ;;
  *) echo "run.sh: '$part', expected published, a or b (--help tells more)" >&2; exit 2 ;;
esac
