# Sourced: sets $venv to a virtual environment with PyTorch from PyPI, made if absent ($KRONLAB_BENCH_VENV names another).
venv=${KRONLAB_BENCH_VENV:-$HOME/.cache/kronlab/bench-venv}
if ! "$venv/bin/python" -c 'import torch, numpy' 2>/dev/null; then
  echo "installing PyTorch into $venv" >&2
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet torch numpy
fi
