#!/usr/bin/env python
"""Make COCO jsons of boxes in YOLO's or Pascal VOC's layout; the pictures stay where they are.

python tools/datasets/prepare_boxes.py data/mine                     # data.yaml, images/, labels/ of YOLO
python tools/datasets/prepare_boxes.py data/VOC2012                  # Annotations/, JPEGImages/ of Pascal VOC
python tools/datasets/prepare_boxes.py data/mine --classes cat dog   # labels/ without a data.yaml
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmopt.apis import run_tool
from mmopt.utils.host import usable_cores
from mmopt.utils.shipped import tool_command


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path, help='folder, or its data.yaml')
    parser.add_argument('--out', type=Path, metavar='DIR', help='folder of the jsons; default: SOURCE/annotations')
    parser.add_argument('--classes', nargs='+', metavar='NAME', help='names, in order; of Pascal VOC: which to keep')
    parser.add_argument('--workers', type=int, default=min(usable_cores(), 8), help='default: %(default)s')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from mmopt.datasets.detection.prepare.boxes import prepare_boxes

    report = prepare_boxes(args.source, out=args.out, classes=args.classes, num_workers=max(args.workers, 0))
    print(report)
    root = args.source.parent if args.source.is_file() else args.source
    options = [f'data.data_root={root}', f'classes={list(report.classes)}']
    config = 'configs/baseline/yolov5n_clips.py'
    print(f'next: {tool_command("check", config, "--options", *options)}')
    print(f'then: {tool_command("train", config, "--options", *options)}')


if __name__ == '__main__':
    run_tool(main)
