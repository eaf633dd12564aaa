#!/usr/bin/env python
"""Look at the data of a config before a training: read every sample, count, and show the five oddest.

python tools/datasets/check.py configs/baseline/yolov5m_fred_rgb.py
python tools/datasets/check.py CONFIG --split train --limit 500 --out check --options data_root=data/mine

Exits with 0 if every sample can be read and there is something to learn, with 1 if not, and with 2 where the config or
the layout of the folder is wrong, so that nothing can be listed.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmopt.apis import run_tool
from mmopt.apis.cli.outputs import check_folder
from mmopt.utils.host import usable_cores


def positive(text: str) -> int:
    """Read a whole number above 0."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file, e.g. configs/baseline/yolov5m_fred_rgb.py')
    parser.add_argument('--split', choices=('train', 'val', 'test'), action='append', help='default: all of the config')
    parser.add_argument('--out', metavar='DIR', help='for the pictures; default: work_dirs/<config name>/check')
    parser.add_argument('--limit', type=positive, metavar='N', help='samples to read per split, spread; default: all')
    parser.add_argument('--workers', type=int, default=min(usable_cores(), 8), help='default: %(default)s')
    parser.add_argument(
        '--options', '--cfg-options', nargs='+', action='extend', default=[], metavar='KEY=VALUE',
        help='replace config values, e.g. data_root=data/mine',
    )  # fmt: skip
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    if args.out is not None:
        check_folder(args.out, '--out')
    from mmopt.apis.check import check_split, find_splits
    from mmopt.apis.config import load_config

    cfg = load_config(args.config, options=args.options)
    folder = Path(args.out or Path(cfg.work_dir, 'check'))
    is_good = True
    for name in args.split or find_splits(cfg):
        report = check_split(cfg, name, folder, limit=args.limit, num_workers=max(args.workers, 0))
        print(report, flush=True)
        is_good &= report.is_good
    return int(not is_good)


if __name__ == '__main__':
    run_tool(main)
