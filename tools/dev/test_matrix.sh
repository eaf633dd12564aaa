#!/usr/bin/env bash
# Run the tests with the lowest and the newest versions that are promised, each in an environment of its own:
#   bash tools/dev/test_matrix.sh [ROW ...] [-- ARGUMENTS OF PYTEST]
# Rows: lowest (the lower bounds of requirements/{runtime,lite,tad}.txt), tested (requirements/constraints.txt), python312
# and python313 (the same on a newer Python), newest (newest Python, no upper bounds). Without a name: all of them.
# Without arguments of pytest: what `make test` runs. A row that cannot be had (no such Python, no such package) is
# skipped with its reason. The end is a table in Markdown; the exit code is 1 if a row failed.
#   MATRIX_DIR   where environments and logs lie (default: a new temporary folder); an environment goes when its row is
#                done, since one with CUDA takes 7 GB
#   PIP_FLAGS    for pip, e.g. '--extra-index-url https://download.pytorch.org/whl/cpu' for the small builds of torch
#   PYTHON311, PYTHON312, PYTHON313   interpreters (default: python3.11 and so on)
# A shell script, and not nox: a row is a virtual environment, one pip and one pytest, and needs no further package.
set -euo pipefail
cd "$(dirname "$0")/../.."

all_rows=(lowest tested python312 python313 newest)
rows=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    case " ${all_rows[*]} " in
        *" $1 "*) rows+=("$1") ;;
        *) echo "unknown row '$1'; known: ${all_rows[*]}" >&2 && exit 2 ;;
    esac
    shift
done
[ ${#rows[@]} -gt 0 ] || rows=("${all_rows[@]}")
[ "${1-}" = -- ] && shift
pytest_args=(-n auto --maxprocesses 4 --dist loadfile "$@")

dir=${MATRIX_DIR:-$(mktemp -d)}
mkdir -p "$dir"
export OMP_NUM_THREADS=1 PYTHONPATH=$PWD
table="| row | Python | torch | numpy | OpenCV | result |
|---|---|---|---|---|---|"
failed=0

# What pip has to keep to in a row.
write_constraints() {
    case $1 in
        # 'numpy>=1.26' becomes 'numpy==1.26.*'; the rest of the environment follows by what pip can combine. Two it
        # combines that do not fit: pyarrow's metadata do not say that newer ones refuse numpy 1, and newer pyparsing
        # warn of how matplotlib 3.8 calls them.
        lowest)
            sed -nE 's/^([A-Za-z-]+)>=([0-9.]+).*/\1==\2.*/p' requirements/{runtime,lite,tad}.txt
            echo 'pyparsing<3.3'
            ;;
        newest) echo 'setuptools<81' ;;
        *) cat requirements/constraints.txt ;;
    esac
}

for row in "${rows[@]}"; do
    case $row in
        lowest | tested) python=${PYTHON311:-python3.11} ;;
        python312) python=${PYTHON312:-python3.12} ;;
        python313 | newest) python=${PYTHON313:-python3.13} ;;
    esac
    environment=$dir/$row
    log=$dir/$row.log
    echo "== $row: $python, log $log"
    rm -rf "$environment"
    if ! "$python" -m venv "$environment" > "$log" 2>&1; then
        echo "   skipped: $python is not to be had"
        table+="
| $row | - | - | - | - | skipped: $python is not to be had |"
        continue
    fi
    write_constraints "$row" > "$dir/$row.txt"
    # The package itself is taken from this folder (PYTHONPATH), so that nothing here is written to.
    files=()
    for name in runtime lite dev detection nuscenes tad video export; do files+=(-r "requirements/$name.txt"); done
    # shellcheck disable=SC2086  # several flags
    if ! "$environment/bin/python" -m pip install --quiet ${PIP_FLAGS-} -c "$dir/$row.txt" \
        "${files[@]}" >> "$log" 2>&1; then
        reason=$(grep -E '^ERROR' "$log" | tail -n 1)
        echo "   skipped: ${reason:-pip failed}"
        table+="
| $row | - | - | - | - | skipped: ${reason:-pip failed} |"
        rm -rf "$environment"
        continue
    fi
    versions=$("$environment/bin/python" - << 'PYTHON'
import platform
from importlib.metadata import version

print(platform.python_version(), *map(version, ('torch', 'numpy', 'opencv-python')), sep=' | ')
PYTHON
    )
    "$environment/bin/python" -m pytest -p no:cacheprovider "${pytest_args[@]}" >> "$log" 2>&1 || failed=1
    result=$(tail -n 1 "$log" | tr -d '=' | xargs)
    echo "   $result"
    table+="
| $row | $versions | $result |"
    rm -rf "$environment"
done
echo
echo "$table"
exit $failed
