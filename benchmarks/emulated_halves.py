#!/usr/bin/env python
"""Measure what bf16 and fp16 cost against fp32 on a CPU that multiplies neither itself.

python benchmarks/emulated_halves.py --out benchmarks/results/emulated_halves_<machine>.json

Training steps of the demos' models on examples of their data, at the batch size of the demo. The precisions take turns
in one process; the fastest step of each counts. On a CPU with bf16 arithmetic ask oneDNN and torch to leave it alone:
ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import torch

from mmopt.apis.memory.case import load_case
from mmopt.engine.loops.step import TrainStep
from mmopt.utils.machine import describe_machine
from mmopt.utils.precision import PRECISIONS, this_cpu

DEMOS = Path(__file__).resolve().parents[1] / 'configs' / 'demo'


def measure(config: Path, rounds: int) -> dict[str, float]:
    """Return the seconds of a training step in each precision."""
    steps, batches = {}, {}
    for precision in PRECISIONS:
        case = load_case(config, precision=precision)
        model = case.build_model().train()
        steps[precision] = TrainStep(model, case.build_optim_wrapper(model))
        batches[precision] = case.batch_maker()()
        steps[precision](batches[precision])
    seconds = dict.fromkeys(PRECISIONS, float('inf'))
    for _ in range(rounds):
        for precision, step in steps.items():
            start = time.perf_counter()
            step(batches[precision])
            seconds[precision] = min(seconds[precision], time.perf_counter() - start)
    return seconds


def main() -> int:
    """Measure all demos, print a table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=7, help='steps of each precision')
    parser.add_argument('--threads', type=int, help="default: torch's")
    parser.add_argument('--out', type=Path, help='JSON file; a table is written beside it')
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    native = [name for name in ('bf16', 'fp16') if this_cpu().support(name).is_native]
    if native:
        print(f'This CPU multiplies {" and ".join(native)} itself: nothing is emulated there; see --help.')
        return 2
    machine = describe_machine() | dict(aten=torch.backends.cpu.get_cpu_capability())
    lines = [
        f'{machine["cpu"]} limited to {machine["aten"]}, {machine["threads"]} threads, torch {machine["torch"]}; '
        f'fastest of {args.rounds} steps, precisions interleaved.',
        '',
        '| demo | fp32 ms | bf16 / fp32 | fp16 / fp32 |',
        '|---|---|---|---|',
    ]
    print('\n'.join(lines))
    results = {}
    for config in sorted(DEMOS.glob('*.py')):
        seconds = results[config.stem] = measure(config, args.rounds)
        ratios = ' | '.join(f'{seconds[name] / seconds["fp32"]:.2f}' for name in ('bf16', 'fp16'))
        lines.append(f'| `{config.stem}` | {1000 * seconds["fp32"]:.0f} | {ratios} |')
        print(lines[-1], flush=True)
    if args.out:
        args.out.write_text(json.dumps(dict(machine=machine, seconds=results), indent=1) + '\n', encoding='utf-8')
        args.out.with_suffix('.md').write_text('\n'.join(lines) + '\n', encoding='utf-8')
    return 0


if __name__ == '__main__':
    sys.exit(main())
