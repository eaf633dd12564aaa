#!/usr/bin/env python
"""Print a config with its bases merged in.

python tools/print_config.py configs/baseline/lss_swin_nuscenes.py
python tools/print_config.py CONFIG --lowered --options runner.max_iters=300   # what the runner gets
"""

import argparse
from collections.abc import Sequence

from mmopt.apis import add_config_flags, config_arguments, run_tool


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_flags(parser)
    parser.add_argument('--lowered', action='store_true', help='the native MMEngine config, with all flags applied')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from mmopt.apis.config import load_config, read_config
    from mmopt.config.dropped import dropped_keys

    cfg = load_config(**config_arguments(args)) if args.lowered else read_config(args.config, args.options, args.preset)
    print(cfg.pretty_text)
    if args.lowered:
        source = read_config(args.config, args.options, args.preset).to_dict()
        for name, reason in dropped_keys(source).items():
            print(f'# {name} has no effect: {reason}.')


if __name__ == '__main__':
    run_tool(main)
