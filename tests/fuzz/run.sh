#!/usr/bin/env bash
# Fuzzes the TOML front with libFuzzer and AddressSanitizer: tests/fuzz/run.sh SECONDS [folder for what is found]
# Needs the Debian packages clang and libclang-rt-14-dev, and a build of the preset release.
# New inputs that reach new code lie in FOUND/corpus, those that crash in FOUND/crash-*: put the latter into tests/fuzz/corpus.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
seconds=${1:?how many seconds}
found=$(realpath -m --relative-to=. "${2:-build/fuzz}")
release=build/release
fail() { echo "fuzz: $*" >&2; exit 1; }
clang=$(command -v clang++ || command -v clang++-14) || fail "needs clang++: apt-get install clang"
[ -f "$("$clang" -print-resource-dir)/lib/linux/libclang_rt.fuzzer-$(uname -m).a" ] || fail "needs libFuzzer: apt-get install libclang-rt-14-dev"
[ -f $release/experiments/libkronlab_pipeline.a ] || fail "needs a build: bash experiments/setup.sh release"
mkdir -p "$found/objects" "$found/corpus"

# What reads TOML, with sanitizers and counters of coverage; the rest comes from the build.
sources=(tests/fuzz/config_front.cpp framework/config/*.cpp framework/base/nearest.cpp experiments/pipeline/experiment_spec.cpp
  experiments/pipeline/distill_spec.cpp experiments/pipeline/layer_pattern.cpp decompositions/registry.cpp distill/schedule.cpp)
read -ra flags <<<"$(pkg-config --cflags tomlplusplus fmt spdlog) $(mpicc --showme:compile)"
flags+=(-std=c++20 -g -O1 -fsanitize=address,undefined,fuzzer -fno-sanitize-recover=all -fno-omit-frame-pointer -I.
  -D_Float16=short  # clang 14 has it on few targets, and nothing here computes with it
  -DOMPI_SKIP_MPICXX=1 -DTOML_HEADER_ONLY=0 -DTOML_SHARED_LIB=1 -DSPDLOG_COMPILED_LIB -DSPDLOG_FMT_EXTERNAL)
objects=()
for source in "${sources[@]}"; do
  object=$found/objects/${source//\//_}.o
  objects+=("$object")
  $(command -v ccache || true) "$clang" "${flags[@]}" -c "$source" -o "$object"
done
libraries=$(sed -n '/^build tests\/test_config_front:/,/^$/s/^  LINK_LIBRARIES = //p' $release/build.ninja)
libraries=${libraries//tests\/support\/libkronlab_test_support.a/}  # it has a main of its own
[ -n "$libraries" ] || fail "$release/build.ninja does not say how test_config_front is linked"
(cd $release && "$clang" -fsanitize=address,undefined,fuzzer "${objects[@]/#/$OLDPWD/}" $libraries -lgomp -o "$OLDPWD/$found/config_front")

# Sweeps make and drop many small values: what the sanitizer holds back of them would be taken for a leak.
export ASAN_OPTIONS=quarantine_size_mb=16:allocator_release_to_os_interval_ms=500${ASAN_OPTIONS:+:$ASAN_OPTIONS}
exec "$found/config_front" "$found/corpus" tests/fuzz/corpus -max_total_time="$seconds" -max_len=4096 -timeout=20 -rss_limit_mb=3000 \
  -print_final_stats=1 -artifact_prefix="$found/" -dict=tests/fuzz/toml.dict
