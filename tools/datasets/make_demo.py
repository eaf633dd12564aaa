#!/usr/bin/env python
"""Make a small generated data set that looks like the real one, to try everything with.

python tools/datasets/make_demo.py nuscenes                       # -> data/demo/nuscenes, 64 train + 16 val
python tools/datasets/make_demo.py nuscenes --out data/small --num-train 8 --num-val 4 --image-size 450 800

The same arguments give the same bytes. A complete set is left alone; a stopped run goes on where it stopped.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmopt.apis import run_tool
from mmopt.utils.host import usable_cores
from mmopt.utils.shipped import tool_command


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('name', metavar='NAME', help='nuscenes, mabe, cityscapes, fred or driver')
    parser.add_argument('--out', type=Path, metavar='DIR', help='default: data/demo/NAME')
    parser.add_argument('--num-train', type=int, metavar='N', help='training samples')
    parser.add_argument('--num-val', type=int, metavar='N', help='validation samples')
    parser.add_argument('--image-size', type=int, nargs=2, metavar=('HEIGHT', 'WIDTH'))
    parser.add_argument('--seed', type=int)
    parser.add_argument('--workers', type=int, default=usable_cores(), help='default: %(default)s')
    parser.add_argument('--force', action='store_true', help='make a complete set anew')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    # After the arguments: importing torch takes seconds.
    from mmopt.datasets.demos import find_demo
    from mmopt.utils.terminal import seconds

    demo = find_demo(args.name)
    default = Path('data/demo', args.name)
    out = args.out or default
    made = demo.make(
        out,
        num_train=args.num_train,
        num_val=args.num_val,
        image_size=None if args.image_size is None else tuple(args.image_size),
        seed=args.seed,
        num_workers=max(args.workers, 0),
        force=args.force,
    )
    if made.seconds:
        print(f'made {made.num_train} train + {made.num_val} val samples in {out} in {seconds(made.seconds)}')
        print(f'look at {out / "preview.jpg"}')
    options = () if out == default else ('--options', f'data.data_root={out}')
    print(f'next: {tool_command("train", demo.config, *options)}')


if __name__ == '__main__':
    run_tool(main, goes_on=True)
