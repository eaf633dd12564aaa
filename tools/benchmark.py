#!/usr/bin/env python
"""Measure settings against each other: interleaved rounds in fresh processes, medians with their spread.

python tools/benchmark.py CONFIG --options-a fp16=None --options-b bf16={}        # two settings of one config
python tools/benchmark.py CONFIG [CONFIG ...] --precision fp32 bf16               # configs, precisions, or both
python tools/benchmark.py --table bev --demo                                      # a guide's table, claims beside it
python tools/benchmark.py configs/demo/X.py --precision fp32 bf16 --metric --rounds 3   # what precision costs
python tools/benchmark.py CONFIG --exported onnx pt2 --batch 4   # forward passes: the model, and graphs made of it

Writes OUT.md, OUT.json and OUT.png. What is finished is not run again when the command is repeated.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mmopt.apis import run_tool
from mmopt.apis.cli.flags import config_path
from mmopt.utils.shipped import shipped_folder, tool_command

TABLES = shipped_folder('tables')
PRECISIONS = ('fp32', 'fp16', 'bf16')
EXPORTED = ('onnx', 'pt2')


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    tables = sorted(path.stem for path in TABLES.glob('*.py'))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='*', type=config_path, metavar='CONFIG', help='the first is the baseline')
    parser.add_argument('--table', choices=tables, help='settings and claims of benchmarks/tables')
    parser.add_argument('--demo', action='store_true', help='with --table: on the demo data, not the data set')
    group = parser.add_argument_group('settings')
    many = dict(nargs='+', action='extend', default=[], metavar='KEY=VALUE')
    group.add_argument('--options', '--cfg-options', help='config values of all settings', **many)
    group.add_argument('--options-a', help='config values of the baseline', **many)
    group.add_argument('--options-b', help='config values of the second setting; likewise -c and -d', **many)
    for letter in 'cd':
        group.add_argument(f'--options-{letter}', help=argparse.SUPPRESS, **many)
    group.add_argument('--precision', nargs='+', choices=PRECISIONS, default=[], help='every setting in each of these')
    group = parser.add_argument_group('exported models', '--warmup and --iters count forward passes of each in turn')
    group.add_argument('--exported', nargs='+', choices=EXPORTED, default=[], help='time forward passes, not training')
    group.add_argument('--batch', type=int, help='with --exported: batch size; default 1')
    group.add_argument(
        '--input-size', type=int, nargs=2, metavar=('HEIGHT', 'WIDTH'), help='with --exported: of random images'
    )
    group = parser.add_argument_group('measurement')
    group.add_argument('--rounds', type=int, default=3, help='trials per setting; default %(default)s')
    group.add_argument('--warmup', type=int, default=5, help='iterations before the timed ones; default %(default)s')
    group.add_argument('--iters', type=int, default=20, help='timed iterations of a trial; default %(default)s')
    group.add_argument('--val-batches', type=int, default=4, help='evaluation batches to time; 0: no projected hours')
    group.add_argument('--estimate', action='store_true', help='also estimate the GPU memory; --rounds 0: nothing else')
    group.add_argument('--metric', action='store_true', help='also train to the end, and compare the metrics')
    group.add_argument('--num-train', type=int, metavar='N', help='training samples of the whole data set')
    group.add_argument('--num-val', type=int, metavar='N', help='validation samples of the whole data set')
    group.add_argument('--seed', type=int, default=0, help='of model and data; --metric counts on from it')
    group.add_argument('--timeout', type=float, default=3600, metavar='S', help='seconds until a trial is given up')
    group.add_argument('--again', action='store_true', help='run also what is finished')
    parser.add_argument('--out', type=Path, metavar='PATH', help='default: work_dirs/benchmark/<name>/report')
    args = parser.parse_args(argv)
    if bool(args.configs) == bool(args.table):
        parser.error('give either CONFIG or --table')
    has_variants = args.precision or any(vars(args)[f'options_{letter}'] for letter in 'abcd')
    if args.table and has_variants:
        parser.error('a table has its own settings; --options changes them all')
    if args.exported and (args.table or has_variants):
        parser.error('--exported times models as they are, in float32: give configs and --options alone')
    if args.exported and args.metric:
        parser.error('--exported trains nothing, so there is no --metric')
    if not args.exported and (args.batch is not None or args.input_size):
        parser.error('--batch and --input-size belong to --exported; for a training: --options data.samples_per_gpu=N')
    if args.demo and not args.table:
        parser.error('--demo belongs to --table; for a config: --options data.data_root=data/demo/...')
    for name, least in dict(rounds=0, warmup=0, iters=1, val_batches=0).items():
        if vars(args)[name] < least:
            parser.error(f'--{name.replace("_", "-")} must be at least {least}')
    return args


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    # After the arguments: importing torch takes seconds.
    if args.exported:
        return compare_exported(args)
    from mmopt.apis.bench.command import compare
    from mmopt.apis.bench.settings import TrialPlan, make_settings
    from mmopt.apis.bench.tables import load_table

    if args.table:
        table = load_table(TABLES / f'{args.table}.py', options=args.options, demo=args.demo)
        settings, sums, title, notes = table.settings, table.sums, table.title, [f'Claimed by {table.source}.']
        num_train, num_val = args.num_train or table.num_train, args.num_val or table.num_val
        name, estimate = args.table, args.estimate or table.estimate
        if args.demo and table.make_demo:
            print(f'demo data: {table.make_demo}', file=sys.stderr)
    else:
        variants = {letter: vars(args)[f'options_{letter}'] for letter in 'abcd' if vars(args)[f'options_{letter}']}
        variants = {f'{letter}: {" ".join(options)}': options for letter, options in variants.items()}
        if len(variants) == 1 and not args.options_a:
            variants = {'as it is': [], **variants}
        settings = make_settings(args.configs, variants, args.precision, args.options)
        name, sums, title, notes = Path(args.configs[0]).stem, (), ', '.join(args.configs), []
        num_train, num_val, estimate = args.num_train, args.num_val, args.estimate
    plan = TrialPlan(args.warmup, args.iters, args.val_batches, seed=args.seed, timeout_s=args.timeout)
    folder = Path('work_dirs/benchmark', name)
    out = args.out or folder / 'report'
    command = tool_command('benchmark', *(sys.argv[1:] if argv is None else argv))
    return compare(
        settings,
        plan,
        folder / 'trials',
        out=out,
        title=title,
        notes=[*notes, f'`{command}`'],
        sums=sums,
        rounds=args.rounds,
        metric=args.metric,
        estimate=estimate,
        num_train=num_train,
        num_val=num_val,
        again=args.again,
    )


def compare_exported(args: argparse.Namespace) -> int:
    from mmopt.apis import load_config
    from mmopt.apis.bench.exported import compare_exported

    blocks = []
    for config in args.configs:
        table = compare_exported(
            load_config(config, options=args.options),
            [f'.{name}' for name in args.exported],
            batch_size=1 if args.batch is None else args.batch,
            input_size=None if args.input_size is None else tuple(args.input_size),
            rounds=args.iters,
            warmup=args.warmup,
        )
        blocks.append(f'## {config}\n\n{table}\n')
        print(blocks[-1])
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.with_suffix('.md').write_text('\n'.join(blocks), encoding='utf-8')
    return 0


if __name__ == '__main__':
    run_tool(main, goes_on=True)
