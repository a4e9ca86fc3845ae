#!/usr/bin/env bash
# Prepares the peers that `bench/peers/compare.py` times beside dreamroad: PyTorch, OpenBLAS and oneDNN, on the CPU.
#
#   bench/peers/setup.sh [FOLDER]        FOLDER defaults to ${XDG_CACHE_HOME:-$HOME/.cache}/dreamroad-peers
#
# Everything goes into one virtual environment outside the repository (about 1.3 GB, 600 MB to download); deleting the
# folder undoes it. Running it again is quick and changes nothing. Prints the path of the environment's python as its
# last line.
#
# PyPI's PyTorch for Linux on x86 is the CUDA build, whose dependencies would be another 2 to 3 GB. A CPU peer needs
# none of them, but the dynamic linker asks for them by name: stub_cuda_libs.py puts small empty libraries in their
# place.
set -euo pipefail

# One version each, so that two runs on two days compare against the same peer. Override from the environment to try
# another.
TORCH=${PEER_TORCH:-2.15.0}
OPENBLAS=${PEER_OPENBLAS:-0.3.34.481.3}
ONEDNN=${PEER_ONEDNN:-2023.2.0}          # oneDNN 3.2, the last wheel built with GNU OpenMP and without SYCL

fail() { echo "setup.sh: $1" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
venv=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/dreamroad-peers}
case $(realpath -m "$venv")/ in
  "$(realpath "$here/../..")"/*) fail "$venv lies inside the repository; give a folder outside it" ;;
esac
system=$(uname -s)-$(uname -m)
[ "$system" = Linux-x86_64 ] || fail "the peers are set up for Linux on x86-64, this is $system"
for tool in python3 g++ nm objdump ldd; do
  command -v "$tool" >/dev/null || fail "$tool is missing: apt-get install python3-venv g++ binutils"
done

if [ ! -x "$venv/bin/python" ]; then
  python3 -m venv "$venv" || fail "no virtual environment could be made: apt-get install python3-venv"
fi
python=$venv/bin/python
pip() { "$python" -m pip --quiet --disable-pip-version-check --no-input "$@"; }

# has NAME VERSION: that very version is there ('' accepts any).
has() {
  "$python" - "$1" "$2" <<'PY'
import sys
from importlib.metadata import PackageNotFoundError, version
try:
    found = version(sys.argv[1])
except PackageNotFoundError:
    sys.exit(1)
sys.exit(0 if sys.argv[2] in ("", found) else 1)
PY
}

# --no-deps keeps pip from fetching the CUDA libraries; what PyTorch imports on a CPU is named here instead.
# The CUDA runtime itself is real (3 MB): static initialisers of libtorch_cuda.so register their kernels with it.
has torch "$TORCH" || pip install --no-deps "torch==$TORCH"
cuda=$("$python" - <<'PY'
import re
from importlib.metadata import requires
text = " ".join(requires("torch") or [])
found = re.search(r"cuda-toolkit[^=]*==\s*(\d+)\.(\d+)", text)
print(f"{found[1]}.{found[2]}" if found else "")
PY
)
[ -n "$cuda" ] || fail "torch $TORCH does not name its CUDA toolkit as expected; try PEER_TORCH=2.15.0"
has nvidia-cuda-runtime "" || pip install --no-deps "nvidia-cuda-runtime~=$cuda.0"
for package in filelock typing-extensions sympy mpmath networkx jinja2 MarkupSafe fsspec numpy; do
  has "$package" "" || pip install --no-deps "$package"
done
has scipy-openblas32 "$OPENBLAS" || pip install --no-deps "scipy-openblas32==$OPENBLAS"
has onednn-cpu-gomp "$ONEDNN" || pip install --no-deps "onednn-cpu-gomp==$ONEDNN" "onednn-devel-cpu-gomp==$ONEDNN"

"$python" "$here/stub_cuda_libs.py"
"$python" - <<'PY' || fail "PyTorch does not work in this environment; delete the folder and run setup.sh again"
import torch
a = torch.ones(64, 64)
assert float((a @ a).sum()) == 64.0 ** 3
print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, MKL {torch.backends.mkl.is_available()}, "
      f"oneDNN {torch.backends.mkldnn.is_available()}")
PY
echo "$python"
