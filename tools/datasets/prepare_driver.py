#!/usr/bin/env python
"""Check a data root of multi-view driver videos, index their frames, and divide the persons into folds.

python tools/datasets/prepare_driver.py                                  # data/driver, 5 folds
python tools/datasets/prepare_driver.py --data-root D --skip-missing     # leave broken recordings out
python tools/datasets/prepare_driver.py --label-first-frame 1            # labels that count frames from 1

Layout: videos_split/<person>/<environment>/{front,left,right}.mp4, label/<person>_<environment>.json (Label Studio)
and, where they are used, keypoints/<person>/<environment>/<frame>.npz and mini.json. Needs '.[video]'.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmopt.apis import run_tool
from mmopt.utils.host import usable_cores
from mmopt.utils.shipped import tool_command


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--data-root', type=Path, default=Path('data/driver'), metavar='DIR', help='default: %(default)s'
    )
    parser.add_argument('--num-folds', type=int, default=5, help='default: %(default)s')
    parser.add_argument('--views', nargs='+', default=['front', 'left', 'right'], help='default: front left right')
    parser.add_argument('--label-first-frame', type=int, default=0, help="number of a video's first frame in labels")
    parser.add_argument('--skip-missing', action='store_true', help='leave out recordings with missing or broken files')
    parser.add_argument('--workers', type=int, default=usable_cores(), help='default: %(default)s')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    # After the arguments: importing torch takes seconds.
    from mmopt.datasets.video.prepare.driver import prepare

    report = prepare(
        args.data_root,
        args.num_folds,
        views=args.views,
        first_frame=args.label_first_frame,
        skip_missing=args.skip_missing,
        num_workers=args.workers,
    )
    print(report)
    config = 'configs/baseline/video_transformer_driver.py'
    print(f'next: {tool_command("train", config, "--options", f"data.data_root={args.data_root}")}')


if __name__ == '__main__':
    run_tool(main, goes_on=True)
