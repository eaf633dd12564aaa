#!/usr/bin/env python
"""Measure how far unchanged code of mmcv 1.x runs: mmseg 0.30.0, mmdet 2.28.2 and mmcls 0.25.0, from their wheels.

python benchmarks/mmcv1_code.py --out benchmarks/results/mmcv1_code_epyc_2cores          # under 15 minutes on 2 cores
python benchmarks/mmcv1_code.py --parts import build --packages FOLDER       # what pip unpacked there before

Every module is imported, 60 published models per package are built on the meta device (a fixed random choice), 24 base
models take one training step, whose gradients are compared with those of the package's own train_step, and three
published configs, cut to small images, are trained by tools/train.py: their losses are compared with a plain loop of
mmcv 1.x over the same batches, resumed, killed and resumed, split into micro-batches, run in half precisions and in two
processes. What adapters and operators cost is measured as time of one processor. Each part runs in a process of its
own. Nothing of the packages is kept.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmcv1_cases import PACKAGES, THIRD_PARTY, TRAINED, make_data

ROOT = Path(__file__).resolve().parents[1]
PARTS = ('import', 'build', 'step', 'speed', 'train')


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=PARTS)
    parser.add_argument('--packages', type=Path, help='folder with the unpacked packages; default: pip downloads them')
    parser.add_argument('--only', nargs='+', default=[], help='packages (import, build) or cases (train) to run')
    parser.add_argument('--models', type=int, default=60, help='models to build per package')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/mmcv1_code/report'))
    return parser.parse_args(argv)


def download(folder: Path) -> Path:
    """Unpack the wheels, each without what it depends on."""
    wanted = [*PACKAGES.values(), *THIRD_PARTY]
    subprocess.run([sys.executable, '-m', 'pip', 'install', '-q', '--no-deps', '--target', folder, *wanted], check=True)
    return folder


def run_part(part: str, name: str, packages: Path, work: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Run one part in a process of its own."""
    result = work / f'{part}_{name}.json'
    command = [sys.executable, ROOT / 'benchmarks/mmcv1_part.py', part, name, packages, work, result, str(args.models)]
    started = time.perf_counter()
    environment = os.environ | dict(PYTHONPATH=os.pathsep.join(map(str, _python_path(packages))), OMP_NUM_THREADS='1')
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    content = json.loads(result.read_text()) if result.is_file() else dict(error=(done.stderr or done.stdout)[-2000:])
    return dict(part=part, name=name, seconds=round(time.perf_counter() - started, 1), **content)


def _python_path(packages: Path) -> list[str]:
    return [str(ROOT), str(packages), *filter(None, os.environ.get('PYTHONPATH', '').split(os.pathsep))]


def as_markdown(results: list[dict[str, Any]]) -> str:
    """Write the results as the documentation shows them."""
    lines = ['# Code of mmcv 1.x, unchanged', '']
    lines += [
        '`python benchmarks/mmcv1_code.py`, on 2 cores of an AMD EPYC with AVX512-BF16; seconds with other work.',
        '',
    ]
    lines += ['| part | of | result | s |', '|---|---|---|---|']
    for row in results:
        facts = {key: value for key, value in row.items() if key not in ('part', 'name', 'seconds', 'failures')}
        text = ', '.join(f'{key.replace("_", " ")} {value}' for key, value in facts.items())
        lines.append(f'| {row["part"]} | {row["name"]} | {text} | {row["seconds"]} |')
    failures = [(row['name'], *pair) for row in results for pair in (row.get('failures') or {}).items()]
    if failures:
        lines += ['', '## What failed', '', *(f'- {name}: `{what}`: {why}' for name, what, why in failures)]
    return '\n'.join(lines) + '\n'


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='mmcv1_') as folder:
        work = Path(folder)
        packages = args.packages.resolve() if args.packages else download(work / 'packages')
        make_data(work / 'data')
        results = []
        for part in args.parts:
            names = dict(train=list(TRAINED), speed=['mmdet']).get(part, list(PACKAGES))
            for name in names:
                if args.only and name not in args.only:
                    continue
                results.append(run_part(part, name, packages, work, args))
                print(json.dumps(results[-1]), flush=True)
    args.out.with_suffix('.json').write_text(json.dumps(results, indent=1) + '\n', encoding='utf-8')
    args.out.with_suffix('.md').write_text(as_markdown(results), encoding='utf-8')


if __name__ == '__main__':
    main()
