#!/usr/bin/env python
"""Fit published weights (Swin, ResNet, YOLOv5, BiSeNetV2, DiffBEV) into the model of a config, for load_from.

python tools/convert_weights.py swin_tiny_patch4_window7_224.pth baseline/lss_swin_nuscenes --out swin.pth
python tools/convert_weights.py yolov5m.pth baseline/yolov5m_fred_rgb --out yolov5m.pth --sha256 1a2b...

Says what fits, with parameter counts; docs/weights.md lists what fits which config. Files are read as tensors: code in
them is never run.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmopt.apis import run_tool
from mmopt.apis.cli.flags import add_config


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('weights', help='published file: .pth, .pt or .safetensors')
    add_config(parser)
    parser.add_argument('--options', '--cfg-options', nargs='+', action='extend', default=[], metavar='KEY=VALUE')
    parser.add_argument('--out', metavar='PTH', help='where to write it, with a hash in the name; default: only report')
    parser.add_argument('--sha256', metavar='HEX', help="refuse another file than the publisher's")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from mmopt.apis.cli.outputs import check_file
    from mmopt.apis.config import load_config, missing_file
    from mmopt.apis.weights.convert import convert_weights
    from mmopt.engine import checkpoint_io
    from mmopt.utils.shipped import tool_command

    if not Path(args.weights).is_file():
        raise missing_file(args.weights, 'checkpoint', suffix=Path(args.weights).suffix)
    if args.out is not None:
        check_file(args.out, '--out')
    cfg = load_config(args.config, options=args.options)
    converted = convert_weights(args.weights, cfg, sha256=args.sha256)
    print(f'{args.weights} -> {args.config}\n{converted}')
    if args.out is None:
        return
    content = dict(
        state_dict=dict(converted.state), meta=dict(origin=converted.origin.name, source_sha256=converted.sha256)
    )
    written = checkpoint_io.write_with_hash(Path(args.out), lambda path: checkpoint_io.save(path, content))
    print(f'wrote {written}; in the config:')
    print(f'load_from = {str(written)!r}\nload_from_sha256 = {checkpoint_io.sha256_of(written)!r}')
    print(f'next: {tool_command("train", args.config, "--load-from", written, "--allow-partial", "--dry-run")}')


if __name__ == '__main__':
    run_tool(main)
