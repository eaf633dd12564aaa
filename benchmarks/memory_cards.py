#!/usr/bin/env python
"""Make the table "card -> batch, accumulation, precision, checkpointing" of docs/memory.md, without any GPU.

python benchmarks/memory_cards.py                                      # every task; minutes
python benchmarks/memory_cards.py configs/baseline/tad_v7_mabe_5090.py

For every config the samples per optimizer step stay the config's. The first of the following that holds them whole is
taken, else the last with the largest batch that fits and as many accumulated: the config's precision, bf16 (fp16 on
cards before Ampere), the same with checkpointed blocks. Memory is traced for two batch sizes and a line in between and
beyond; a tenth of the card is left free.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from mmopt.apis.memory.case import load_case
from mmopt.apis.memory.estimate import SLACK, estimate_memory
from mmopt.engine.memory.gpus import GPUS
from mmopt.utils.memory import GIB

REPO = Path(__file__).resolve().parents[1]
CONFIGS = (
    'lss_swin_nuscenes.py', 'tad_v7_mabe_5090.py', 'yolov5m_fred_rgb.py', 'video_transformer_driver.py',
    'bisenetv2_cityscapes.py',
)  # fmt: skip
CARDS = {6: 'rtx2060', 8: 'rtx3070', 12: 'rtx3060', 16: 'rtx4080', 24: 'rtx3090', 32: 'rtx5090', 80: 'a100-80g'}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='*', help='default: one of every task')
    parser.add_argument('--out', type=Path, help='write the table here too')
    return parser.parse_args(argv)


def lines_of(config: str, precisions: Sequence[str], whole: int) -> dict[tuple[str, str], Callable[[int], float]]:
    """Return reserved bytes as a function of the batch size, by (precision, checkpointing)."""
    small = max(whole // 4, 2)
    large = max(whole, small + 2)
    lines = {}
    for precision in precisions:
        for checkpointing in ('none', 'blocks') if precision == precisions[-1] else ('none',):
            report = estimate_memory(
                config, batch_sizes=[small, large], precisions=[precision], checkpointings=[checkpointing]
            )
            low, high = (case['reserved'] for case in report.cases)
            slope = (high - low) / (large - small)
            lines[precision, checkpointing] = lambda batch, low=low, slope=slope: low + slope * (batch - small)
    return lines


def choose(lines: dict, whole: int, capacity: float) -> tuple[int, tuple[str, str]] | None:
    """Return batch and setting for a card; None if not one sample fits."""
    best = None
    for setting, need in lines.items():
        fitting = [batch for batch in range(1, whole + 1) if need(batch) * (1 + SLACK) <= capacity]
        if fitting and fitting[-1] == whole:
            return whole, setting
        if fitting and (best is None or fitting[-1] > best[0]):
            best = fitting[-1], setting
    if best is None:
        return None
    # Batches of equal size: 4 + 4 and not 7 + 1; that may fit without what the largest needed.
    steps = -(-whole // best[0])
    batch = -(-whole // steps)
    return batch, next(setting for setting, need in lines.items() if need(batch) * (1 + SLACK) <= capacity)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    chosen = args.configs or [
        f'configs/baseline/{name}' for name in CONFIGS if (REPO / 'configs/baseline' / name).is_file()
    ]
    rows = ['| config | ' + ' | '.join(f'{size} GB' for size in CARDS) + ' |', '|---' * (len(CARDS) + 1) + '|']
    for config in chosen:
        case = load_case(config)
        whole = case.batch_size * (case.cfg.optim_wrapper.get('accumulative_counts') or 1)
        precisions = ['fp32', 'bf16'] if case.precision == 'fp32' else [case.precision]
        lines = lines_of(config, precisions, whole)
        cells = []
        for name in CARDS.values():
            gpu = GPUS[name]
            found = choose(lines, whole, (gpu.total_gib - gpu.context_gib[1]) * GIB)
            if found is None:
                cells.append('does not fit')
                continue
            batch, (precision, checkpointing) = found
            steps = -(-whole // batch)
            need = lines[precision, checkpointing](batch) / GIB + gpu.context_gib[1]
            if gpu.capability < (8, 0) and precision == 'bf16':
                precision = 'fp16'  # as many bytes; cards before Ampere have no bf16
            text = f'{batch} x {steps}, {precision}' + (', blocks' if checkpointing == 'blocks' else '')
            cells.append(f'{text} ({need:.1f})')
        rows.append(f'| `{Path(config).name}` | ' + ' | '.join(cells) + ' |')
        print(rows[-1], flush=True)
    table = '\n'.join(rows) + '\n'
    print(table)
    if args.out:
        args.out.write_text(table)


if __name__ == '__main__':
    main()
