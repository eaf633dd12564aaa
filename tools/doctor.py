#!/usr/bin/env python
"""Examine machine, installation and a config before a training: each line is ok, or says what to do.

python tools/doctor.py
python tools/doctor.py configs/baseline/lss_swin_nuscenes.py --options data.samples_per_gpu=8

Exit code 1 if a line must be mended: the training would fail or compute wrong numbers.
"""

import argparse
from collections.abc import Sequence

from mmopt.apis import run_tool
from mmopt.apis.cli.flags import add_config


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config(parser, nargs='?', help='what is to be trained')
    parser.add_argument('--precision', choices=('fp32', 'fp16', 'bf16'), help="replaces the config's fp16 and bf16")
    parser.add_argument(
        '--options', '--cfg-options', nargs='+', action='extend', default=[], metavar='KEY=VALUE',
        help='replace config values, e.g. data.data_root=data/demo/nuscenes',
    )  # fmt: skip
    args = parser.parse_args(argv)
    if not args.config and (args.options or args.precision):
        parser.error('--options and --precision need a config')
    return args


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    from mmopt.apis.config import load_config
    from mmopt.apis.doctor import examine, format_checks

    cfg = load_config(args.config, options=args.options, precision=args.precision) if args.config else None
    checks = examine(cfg)
    print(format_checks(checks))
    return int(any(check.verdict == 'fault' for check in checks))


if __name__ == '__main__':
    run_tool(main)
