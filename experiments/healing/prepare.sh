# Sourced by experiments on SmolLM2-135M with novels: builds what is missing, fetches the model, makes the texts.
# Reads $KRONLAB_DATA; sets $KRONLAB_STORE, $root, $bin (programs), $model and $text (texts.sh, and wiki.test.raw).
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
: "${KRONLAB_DATA:?set it to a folder with text/novels and text/wikitext-2}"
export KRONLAB_STORE=${KRONLAB_STORE:-kronlab-store}
bin=$root/build/release/bin
[ -x "$bin/kronlab" ] || { bash "$root/experiments/setup.sh" release >&2; cmake --build "$root/build/release" --target kronlab kronlab-report >&2; }
model=$(bash "$root/experiments/quickstart/fetch_model.sh")
text=$(realpath -m "$KRONLAB_STORE")/healing-text
bash "$root/experiments/healing/texts.sh" "$KRONLAB_DATA/text/novels" "$text"
cp "$KRONLAB_DATA/text/wikitext-2/wiki.test.raw" "$text/"
