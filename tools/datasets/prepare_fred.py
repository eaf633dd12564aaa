#!/usr/bin/env python
"""Make COCO jsons of FRED's raw sequences: RGB, event, and pairs of both, split by sequence.

python tools/datasets/prepare_fred.py data/fred                 # -> data/fred/annotations/{rgb,event,fusion}_*.json
python tools/datasets/prepare_fred.py data/fred --labels interpolated_coordinates.txt --workers 16

Images stay where they are. A stopped run goes on where it stopped; a sequence whose files changed is made anew.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmopt.apis import run_tool
from mmopt.utils.host import usable_cores
from mmopt.utils.shipped import tool_command


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('root', type=Path, nargs='?', default=Path('data/fred'), help='default: %(default)s')
    parser.add_argument('--labels', default='coordinates.txt', metavar='NAME', help='default: %(default)s')
    parser.add_argument(
        '--split-file', type=Path, metavar='JSON',
        help='{"train": [sequences], "val": [...], "test": [...]}; default: drawn with --shares and --seed',
    )  # fmt: skip
    parser.add_argument(
        '--split-by', choices=('sequence', 'frame'), default='sequence',
        help='frame: neighbors lie in different splits, which makes every metric too good; default: %(default)s',
    )  # fmt: skip
    parser.add_argument('--shares', type=float, nargs=3, default=(0.7, 0.15, 0.15), metavar=('TRAIN', 'VAL', 'TEST'))
    parser.add_argument('--seed', type=int, default=42, help='of the split; default: %(default)s')
    parser.add_argument('--keep-unlabelled', action='store_true', help='frames without a label are images of no drone')
    parser.add_argument('--workers', type=int, default=min(usable_cores(), 8), help='default: %(default)s')
    parser.add_argument('--force', action='store_true', help='make finished sequences anew')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    # After the arguments: importing torch takes seconds.
    from mmopt.datasets.detection.prepare.fred import FredOptions, prepare_fred, summarize_fred

    summary = prepare_fred(
        FredOptions(
            root=args.root,
            labels=args.labels,
            split_file=args.split_file,
            split_by=args.split_by,
            shares=tuple(args.shares),
            seed=args.seed,
            keep_unlabelled=args.keep_unlabelled,
            num_workers=max(args.workers, 0),
            force=args.force,
        )
    )
    print(summarize_fred(summary, args.root))
    config = 'configs/baseline/yolov5m_fred_rgb_fast.py'
    print(f'next: {tool_command("train", config, "--options", f"data.data_root={args.root}")}')


if __name__ == '__main__':
    run_tool(main, goes_on=True)
