#!/usr/bin/env python
"""Estimate the memory of a training run without a GPU and without the data.

python tools/estimate_memory.py configs/baseline/lss_swin_nuscenes.py
python tools/estimate_memory.py CONFIG --batch-sizes 4 8 16 --precision fp32 fp16 bf16 --gpu rtx3090
python tools/estimate_memory.py CONFIG --budget 24GiB --checkpointing none blocks --ram 16GiB --json memory.json
python tools/estimate_memory.py CONFIG --batch-sizes 4 8 16 --picture memory.png
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from mmopt.apis import run_tool
from mmopt.apis.cli.flags import PRECISIONS, add_config


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config(parser)
    parser.add_argument('--options', '--cfg-options', nargs='+', action='extend', default=[], metavar='KEY=VALUE')
    group = parser.add_argument_group('settings to compare; every combination is a row')
    group.add_argument(
        '--batch-sizes', nargs='+', type=_positive, default=[], metavar='N', help="default: the config's"
    )
    group.add_argument('--precision', nargs='+', choices=PRECISIONS, default=[], help="default: the config's")
    group.add_argument(
        '--checkpointing', nargs='+', choices=('none', 'blocks'), default=[], help="default: the config's"
    )
    group.add_argument('--optimizer', choices=('SGD', 'AdamW'), help="plain, in place of the config's")
    group = parser.add_argument_group('what must fit')
    card = group.add_mutually_exclusive_group()
    card.add_argument('--budget', metavar='AMOUNT', help="the card's memory, e.g. 24GiB: look for the largest batch")
    card.add_argument('--gpu', metavar='NAME', help='the card, e.g. rtx3090: look for the largest batch')
    group.add_argument('--ram', metavar='AMOUNT', help="the machine's memory, e.g. 16GiB: how many workers fit")
    group = parser.add_argument_group('what the estimate rests on')
    group.add_argument(
        '--max-items', type=_count, metavar='N', help='boxes, events ... per sample; default: a bad case'
    )
    group.add_argument('--scan', action='store_true', help='take the samples with the most labels of the data on disk')
    group.add_argument('--expandable-segments', action='store_true', help='PYTORCH_ALLOC_CONF=expandable_segments:True')
    group = parser.add_argument_group('output')
    group.add_argument('--json', metavar='FILE', help='write the report as JSON; - prints it in place of the table')
    group.add_argument('--picture', metavar='FILE', help='write the bars as PNG')
    return parser.parse_args(argv)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f'must be at least 1, got {text}')
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f'must be at least 0, got {text}')
    return value


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    # After the arguments: importing torch takes seconds.
    from mmopt.apis.memory.estimate import estimate_memory
    from mmopt.engine.memory.gpus import Budget, Gpu, parse_bytes, parse_gpu

    if not Path(args.config).is_file():
        from mmopt.apis.config import missing_file

        raise missing_file(args.config, 'config', suffix='.py')
    budget = None
    if args.gpu:
        budget = parse_gpu(args.gpu)
    elif args.budget:
        total = parse_bytes(args.budget, '--budget')
        budget = Budget(args.budget, total, Gpu(total / 1024**3, (8, 6)))
    report = estimate_memory(
        args.config,
        options=args.options,
        batch_sizes=args.batch_sizes,
        precisions=args.precision,
        checkpointings=args.checkpointing,
        budget=budget,
        ram_bytes=parse_bytes(args.ram, '--ram') if args.ram else None,
        optimizer=args.optimizer,
        max_items=args.max_items,
        scan=args.scan,
        expandable_segments=args.expandable_segments,
    )
    if args.json == '-':
        print(json.dumps(report.to_dict(), indent=2))
    else:
        from mmopt.apis.memory.table import format_report

        print(format_report(report))
        if args.json:
            Path(args.json).write_text(json.dumps(report.to_dict(), indent=2) + '\n', encoding='utf-8')
    if args.picture:
        from mmopt.apis.memory.picture import draw_report

        draw_report(report, Path(args.picture))


if __name__ == '__main__':
    run_tool(main)
