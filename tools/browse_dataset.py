#!/usr/bin/env python
"""Draw samples of a data set as the pipeline hands them over, with their labels.

python tools/browse_dataset.py configs/baseline/lss_swin_nuscenes.py --split val --num 8
python tools/browse_dataset.py CONFIG --augmented --options data.data_root=data/demo/nuscenes
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmopt.apis import run_tool
from mmopt.apis.cli.flags import add_config


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config(parser)
    parser.add_argument('--split', choices=('train', 'val', 'test'), default='train', help='default: train')
    parser.add_argument('--num', type=int, default=8, metavar='N', help='pictures, spread over the split; default 8')
    parser.add_argument('--out', metavar='DIR', help='default: work_dirs/<config name>/browse')
    parser.add_argument('--augmented', action='store_true', help='images as the network sees them, distorted')
    parser.add_argument('--epoch', type=int, default=0, metavar='E', help='whose random draws to show; default 0')
    parser.add_argument(
        '--options', '--cfg-options', nargs='+', action='extend', default=[], metavar='KEY=VALUE',
        help='replace config values, e.g. data.data_root=data/demo/nuscenes',
    )  # fmt: skip
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from tqdm import tqdm

    from mmopt.apis.config import load_config
    from mmopt.apis.pictures.browse import browse

    cfg = load_config(args.config, options=args.options)
    folder = Path(args.out or Path(cfg.work_dir, 'browse'))
    # disable=None: no bar where standard error is no terminal.
    with tqdm(desc=args.split, unit='picture', disable=None, leave=False) as bar:

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        files = browse(
            cfg,
            folder,
            split=args.split,
            count=args.num,
            epoch=args.epoch,
            augmented=args.augmented,
            report=report,
        )
    print(f'{len(files) - 1} pictures in {folder}, all on {files[-1]}')


if __name__ == '__main__':
    run_tool(main)
