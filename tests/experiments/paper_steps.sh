#!/usr/bin/env bash
# One step of each experiment at a paper's scale, on random weights: paper_steps.sh SOURCE_DIR BINARY_DIR [full]
#
# What is long is cut: one step of training, a few tokens, searches of one sweep. Without `full` also blocks and vocabulary, so that it
# takes seconds: GPT-2 small's own matrices in two blocks, a vocabulary of 1,000, of Krony-PT's variants the first; LLaMA-2 7B's layers at
# a width of 128 in six blocks. With it GPT-2 small as it is; LLaMA-2 is left out.
set -euo pipefail
source=$1 binary=$2 size=${3:-small}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export KRONLAB_OVERSUBSCRIBE=1

shape() {  # NAME CONFIG REPLACEMENTS: a random model of the shape of CONFIG
  mkdir "$work/$1"
  sed -E "${@:3}" "$source/experiments/$2/model/config.json" >"$work/$1/shape.json"
  "$binary/tests/make_tiny_model" "$work/$1" "$work/$1/shape.json"
}

text() { echo "$work/$1/text/calibration.txt"; }

step() {  # MODEL FILE OPTIONS: every run of FILE
  local model=$1 file=$2 TIMEFORMAT="$2: %R s, of a core %U + %S s"
  local evaluation="{ dataset = { path = \"$(text "$model")\" }, protocol = { window = 32, join = \"rows\", average = \"windows\" }, max_windows = 2 }"
  time "$binary/bin/kronlab" run "$source/experiments/$file" --store "$work/store" --quiet --set model.path="$work/$model/model" --set "evaluate=[$evaluation]" \
    "${@:3}" >"$work/out" 2>&1 || { cat "$work/out"; exit 1; }
  grep -q 'run(s) done' "$work/out" || { echo "$file: not all runs were done"; cat "$work/out"; exit 1; }
}

training() {  # MODEL STAGE...: options that cut the training of these stages
  printf '%s\n' --set data.distillation.path="$(text "$1")" --set data.distillation.window=32 --set data.distillation.holdout=1
  for stage in "${@:2}"; do
    printf '%s\n' --set "stage.$stage.distill.epochs=1e-9" --set "stage.$stage.distill.batch_tokens=32" --set "stage.$stage.distill.micro_batch=1" \
      --set "stage.$stage.distill.schedule.warmup=0"
  done
}

searches() {  # STAGE[.part.N]...: options that end a search after its first sweep
  for place in "$@"; do printf '%s\n' --set "stage.$place.permute.max_evaluations=1"; done
}

gpt2() {  # BLOCKS SWEEP: the blocks that DistilGPT-2 keeps; options for the sweep of trained variants
  mapfile -t one < <(training gpt2 0)
  mapfile -t two < <(training gpt2 0 1)
  mapfile -t three < <(training gpt2 0 1 2; searches 0 1.part.0 1.part.1 2)
  step gpt2 gpt2/gpt2.toml
  step gpt2 distilgpt2/distilgpt2.toml "${one[@]}" --set "student.blocks=$1"
  step gpt2 kngpt2/kngpt2.toml "${one[@]}"
  step gpt2 kngpt2/size.toml
  step gpt2 krony_pt/krony_pt.toml "${two[@]}" "${@:2}"
  step gpt2 tqcompressor/tqcompressor.toml "${three[@]}"
  step gpt2 tensorgpt/tensorgpt.toml
}

llama2() {
  mapfile -t one < <(training llama2 0)
  step llama2 llama2/llama2.toml
  step llama2 sparsegpt/sparsegpt.toml --set data.calibration.path="$(text llama2)" --set data.calibration.tokens=64 --set data.calibration.window=32
  step llama2 compactifai/compactifai.toml "${one[@]}" \
    --set 'sweep.variants.2={ name = "bond dimension 8", "stage.0.part.0.decompose" = { kind = "mpo", num_sites = 3, bond_dimension = 8 } }'
}

if [ "$size" = full ]; then
  shape gpt2 gpt2 ''
  gpt2 '[0, 2, 4, 6, 8, 10]'
else
  shape gpt2 gpt2 -e 's/("n_layer":) 12/\1 2/' -e 's/("vocab_size":) 50257/\1 1000/'
  shape llama2 llama2 -e 's/("hidden_size":) 4096/\1 128/' -e 's/("intermediate_size":) 11008/\1 256/' -e 's/("num_hidden_layers":) 32/\1 6/' \
    -e 's/("(num_attention_heads|num_key_value_heads)":) 32/\1 4/' -e 's/("vocab_size":) 32000/\1 1000/'
  gpt2 '[0]' --set 'sweep={}'
  llama2
fi
