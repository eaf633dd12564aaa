#!/usr/bin/env python
"""Learn from one GPU in eight minutes what a CPU cannot tell: does it run, is it right, how fast, how much memory.

python benchmarks/gpu_suite.py --prepare --out prepared                          # anywhere: memory estimates, no GPU
python benchmarks/gpu_suite.py --minutes 8 --out out --estimates prepared/estimates.json --wheels wheels
python benchmarks/gpu_suite.py --cpu-rehearsal --out out                         # every step, tiny, on a CPU

Runs from a plain copy of the tree. Every step is a process with a limit of its own; they are in order of value, and a
step that no longer fits is left out. ``suite.json`` and ``suite.md`` are rewritten after every row, so a run that is
cut off keeps what it has. At most 8 files are written. ``tools/dev/collect_wheels.sh`` collects for ``--wheels`` what a
machine without a network may lack.
"""

import sys
from pathlib import Path

# Beside this script lies the package of the same name, which has all the rest.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from gpu_suite.parent import main

if __name__ == '__main__':
    sys.exit(main(script=Path(__file__).resolve()))
