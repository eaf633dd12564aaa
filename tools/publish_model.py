#!/usr/bin/env python
"""Strip a checkpoint to its weights, with a hash in the name.

python tools/publish_model.py work_dirs/x/best_mIoU.pth --out lss_swin.pth           # lss_swin-1a2b3c4d.pth
python tools/publish_model.py work_dirs/x/best_mIoU.pth --out lss_swin.safetensors
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmopt.apis import run_tool


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', help='of mmopt, MMEngine or mmcv 1.x')
    parser.add_argument('--out', required=True, help='the file to make: .pth or .safetensors; the hash is added')
    parser.add_argument(
        '--allow-pickle', action='store_true', help='load arbitrary Python objects, if you trust the checkpoint'
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from mmopt.apis.cli.outputs import check_file
    from mmopt.apis.export.publish import publish_model

    check_file(args.out, '--out')
    published = publish_model(args.checkpoint, args.out, allow_pickle=args.allow_pickle)
    before, after = (path.stat().st_size / 1024**2 for path in (Path(args.checkpoint), published))
    print(f'{published}: {after:.1f} MiB of {before:.1f} MiB')


if __name__ == '__main__':
    run_tool(main)
