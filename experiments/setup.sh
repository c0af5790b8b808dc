#!/usr/bin/env bash
# Installs what kronlab needs on Debian 12 (only what is missing) and builds it: experiments/setup.sh [PRESET [TARGET...]]
# As root, or as a user with sudo; asks nothing. KRONLAB_PACKAGES: further packages, between blanks.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
preset=${1:-release}
[ $# -eq 0 ] || shift

packages=(g++ cmake ninja-build pkg-config ccache git ca-certificates
  libopenmpi-dev openmpi-bin libhdf5-openmpi-dev hdf5-tools libeigen3-dev libscalapack-openmpi-dev
  libopenblas-pthread-dev liblapacke-dev libdnnl-dev ocl-icd-opencl-dev opencl-c-headers
  libtomlplusplus-dev libyaml-cpp-dev libsqlite3-dev sqlite3 libboost-dev libboost-test-dev nlohmann-json3-dev libcli11-dev libspdlog-dev libfmt-dev
  libpcre2-dev gnuplot-nox libsqlitecpp-dev libsentencepiece-dev liblemon-dev librandom123-dev libxxhash-dev libssl-dev
  coinor-libcbc-dev
  python3 python3-pip unzip html2text)
read -r -a extra <<<"${KRONLAB_PACKAGES:-}"
packages+=("${extra[@]}")

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "== installing ${#missing[@]} packages: ${missing[*]}"
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "setup: need root or sudo to install: ${missing[*]}" >&2; exit 1; }
    as_root=(sudo)
  fi
  "${as_root[@]}" apt-get -o DPkg::Lock::Timeout=600 update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends "${missing[@]}"
fi

echo "== building (preset $preset)"
cmake --preset "$preset" >"${TMPDIR:-/tmp}/kronlab-configure.$$.log" 2>&1 || { cat "${TMPDIR:-/tmp}/kronlab-configure.$$.log" >&2; exit 1; }
rm -f "${TMPDIR:-/tmp}/kronlab-configure.$$.log"
cmake --build --preset "$preset" --parallel "$(nproc)" ${1:+--target "$@"}
