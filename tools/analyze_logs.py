#!/usr/bin/env python
"""Draw the curves of one or more runs, print where they ended, where their time went, and what to change first.

python tools/analyze_logs.py work_dirs/lss_swin_nuscenes
python tools/analyze_logs.py runs/x runs/y --keys loss lr mIoU memory time --out curves.png
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmopt.apis import run_tool


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('runs', nargs='+', metavar='RUN', help='work dir, or a scalars.json')
    parser.add_argument(
        '--keys', nargs='+', metavar='KEY', help='what to draw; `metric` and `memory` are what the runs have of it'
    )
    parser.add_argument('--out', metavar='PNG', help='default: curves.png in the first work dir')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from mmopt.apis.cli.outputs import check_file
    from mmopt.apis.logs.curves import DEFAULT_PANELS, choose_keys, plot_curves, table
    from mmopt.apis.logs.read import read_run
    from mmopt.apis.logs.time import plot_time, read_time

    if args.out is not None:
        check_file(args.out, '--out')
    logs = [read_run(path) for path in args.runs]
    keys = choose_keys(logs, args.keys or DEFAULT_PANELS)
    first = Path(args.runs[0])
    out = plot_curves(logs, keys, args.out or (first if first.is_dir() else first.parent) / 'curves.png')
    print(table(logs, keys))
    print(f'curves: {out}')
    times = [time for time in map(read_time, args.runs) if time is not None]
    for time in times:
        print(f'\n{time}')
    if times:
        print(f'time: {plot_time(times, out.with_name("time_split.png"))}')


if __name__ == '__main__':
    run_tool(main)
