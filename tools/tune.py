#!/usr/bin/env python
"""Find the fastest setting of a config for this machine, and write it as a config that inherits from the base.

python tools/tune.py CONFIG --budget 24GiB --effective-batch 8 --out configs/tuned/x.py
python tools/tune.py CONFIG --knobs batch precision channels_last --max-trials 12

Every trial is a process of its own and is kept: the same command goes on where it was stopped. A change stays only if
it helps this model, and the loss stays within --loss-tolerance.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mmopt.apis import run_tool
from mmopt.apis.cli.flags import add_config


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config(parser, help='the config to tune')
    parser.add_argument('--out', type=Path, metavar='FILE', help='default: configs/tuned/<name>.py')
    parser.add_argument('--budget', metavar='24GiB', help='memory of the card (of the host without one); default: all')
    parser.add_argument('--effective-batch', type=int, metavar='N', help="samples per step; default: the config's")
    parser.add_argument('--lr-scaling', choices=('linear', 'sqrt'), default='linear', help='with --effective-batch')
    parser.add_argument('--loss-tolerance', type=float, default=0.05, metavar='X', help='share; default %(default)s')
    parser.add_argument('--knobs', nargs='+', metavar='KNOB', help='turn only these; default: all that can help')
    parser.add_argument(
        '--options', '--cfg-options', nargs='+', action='extend', default=[], metavar='KEY=VALUE',
        help='replace config values, e.g. data.data_root=data/demo/nuscenes',
    )  # fmt: skip
    group = parser.add_argument_group('trials')
    group.add_argument('--max-trials', type=int, default=24, help='default %(default)s')
    group.add_argument('--warmup', type=int, default=5, help='iterations before the timed ones; default %(default)s')
    group.add_argument('--iters', type=int, default=20, help='timed iterations of a trial; default %(default)s')
    group.add_argument('--confirm', type=int, default=2, help='rounds of choice against base; default %(default)s')
    group.add_argument('--seed', type=int, default=0)
    group.add_argument('--timeout', type=float, default=1800, metavar='S', help='seconds until a trial is given up')
    args = parser.parse_args(argv)
    for name, least in dict(max_trials=1, warmup=0, iters=1, confirm=0).items():
        if vars(args)[name] < least:
            parser.error(f'--{name.replace("_", "-")} must be at least {least}')
    if args.effective_batch is not None and args.effective_batch < 1:
        parser.error('--effective-batch must be at least 1')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from mmopt.apis.bench.settings import TrialPlan
    from mmopt.apis.tune import TuneSettings, tune
    from mmopt.engine.memory.gpus import parse_bytes
    from mmopt.utils.shipped import tool_command

    name = Path(args.config).stem
    out = args.out or Path('configs/tuned', f'{name}.py')
    found = tune(
        args.config,
        out,
        options=tuple(args.options),
        settings=TuneSettings(
            budget_bytes=parse_bytes(args.budget, '--budget') if args.budget else None,
            effective_batch=args.effective_batch,
            lr_rule=args.lr_scaling,
            loss_tolerance=args.loss_tolerance,
            max_trials=args.max_trials,
            confirm=args.confirm,
            knobs=tuple(args.knobs) if args.knobs else None,
        ),
        trial=TrialPlan(args.warmup, args.iters, seed=args.seed, timeout_s=args.timeout),
        folder=Path('work_dirs/tune', name),
        command=tool_command('tune', *(sys.argv[1:] if argv is None else argv)),
    )
    changes = found.space.changes(found.best)
    print(f'{out}: ' + (', '.join(f'{key} {value}' for key, value in changes.items()) or 'the base is the best'))
    print(f'next: {tool_command("train", out)}')


if __name__ == '__main__':
    run_tool(main, goes_on=True)
