#!/usr/bin/env python
"""Make a detection data set of videos, each with a CSV of its name: frame,label,x,y,width,height.

python tools/datasets/prepare_clips.py a.mp4 b.mp4 --out data/clips        # first 60 % to train on, last 30 % to test
python tools/datasets/prepare_clips.py bird.mp4 --out data/birds --train 0 0 --val 0 1
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmopt.apis import run_tool
from mmopt.utils.host import usable_cores
from mmopt.utils.shipped import tool_command


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('videos', type=Path, nargs='+', metavar='VIDEO')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='the data root to make')
    parser.add_argument('--classes', nargs='+', default=['drone'], help='labels to keep; default: drone')
    parser.add_argument('--train', type=float, nargs=2, default=(0.0, 0.6), metavar=('START', 'STOP'), help='shares')
    parser.add_argument('--val', type=float, nargs=2, default=(0.7, 1.0), metavar=('START', 'STOP'), help='shares')
    parser.add_argument('--workers', type=int, default=min(usable_cores(), 8), help='default: %(default)s')
    parser.add_argument('--step', type=int, default=1, metavar='N', help='take every N-th frame')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from mmopt.datasets.detection.prepare.clips import Clip, import_clips

    images = import_clips(
        [Clip(video) for video in args.videos],
        args.out,
        classes=[name.lower() for name in args.classes],
        train=tuple(args.train),
        val=tuple(args.val),
        step=args.step,
        num_workers=max(args.workers, 0),
    )
    print(f'wrote {args.out}: {images["train"]} images to train on, {images["val"]} to evaluate on')
    if all(images.values()):
        config = 'configs/baseline/yolov5n_clips.py'
        print(f'next: {tool_command("train", config, "--options", f"data.data_root={args.out}")}')


if __name__ == '__main__':
    run_tool(main, goes_on=True)
