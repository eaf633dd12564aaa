#!/usr/bin/env bash
# Collect the wheels of mmopt's requirements that a machine without a network and with torch, NumPy and OpenCV may lack,
# for `python benchmarks/gpu_suite.py --wheels FOLDER`:
#   bash tools/dev/collect_wheels.sh FOLDER [PYTHON_VERSION]
# The versions are those of requirements/constraints.txt. All but simplejpeg (0.4 MB) are pure Python. FOLDER must be new
# or empty; PYTHON_VERSION is that of the other machine (default: 3.12).
#   PYTHON   interpreter whose pip downloads (default: python3)
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,7p' "$0" | cut -c3- >&2; exit 2; }
out=$1
version=${2:-3.12}
[ ! -e "$out" ] || [ -z "$(ls -A "$out")" ] || { echo "$out is not empty" >&2; exit 2; }
here=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$out"
# What mmengine and mmcv-lite need beside what such a machine has; setuptools, because mmengine imports pkg_resources.
"${PYTHON:-python3}" -m pip download --quiet --no-deps --only-binary=:all: --python-version "$version" \
    --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 -c "$here/requirements/constraints.txt" -d "$out" \
    mmengine mmcv-lite simplejpeg addict yapf termcolor platformdirs 'setuptools<81'
du -sh "$out"
