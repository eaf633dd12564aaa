#!/usr/bin/env python
"""Export a trained model to ONNX or to torch.export's archive, and check the file against the model.

python tools/export.py CONFIG CHECKPOINT --out model.onnx                      # needs pip install -e '.[export]'
python tools/export.py CONFIG CHECKPOINT --out model.pt2 --batch 4
python tools/export.py CONFIG CHECKPOINT --out model.onnx --input-size 512 1024 --rounds 20   # and time both

The input is the first sample of the test set, or random images of --input-size. The graph takes what the data
preprocessor gives (its mean and standard deviation are in the file) and has this one batch size.
"""

import argparse
from collections.abc import Sequence

from mmopt.apis import run_tool
from mmopt.apis.cli.flags import add_config, add_weight_flags, weight_arguments


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config(parser)
    parser.add_argument('checkpoint', nargs='?', help='left out: the weights that the config builds')
    parser.add_argument('--out', required=True, help='the file to make: .onnx or .pt2')
    parser.add_argument('--batch', type=int, default=1, help='batch size of the graph; default: %(default)s')
    parser.add_argument('--input-size', type=int, nargs=2, metavar=('HEIGHT', 'WIDTH'), help='of random images')
    parser.add_argument('--rounds', type=int, default=0, help='timings of model and graph in turns; default: none')
    parser.add_argument('--options', '--cfg-options', nargs='+', default=[], metavar='KEY=VALUE')
    add_weight_flags(parser)
    parser.add_argument(
        '--allow-pickle', action='store_true', help='load arbitrary Python objects, if you trust the checkpoint'
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    # After the arguments: importing torch takes seconds.
    from mmopt.apis import load_config
    from mmopt.apis.cli.outputs import check_file
    from mmopt.apis.export.export import export_model

    check_file(args.out, '--out')
    cfg = load_config(args.config, options=args.options)
    cfg.update(weight_arguments(args))
    made = export_model(
        cfg,
        args.checkpoint,
        args.out,
        batch_size=args.batch,
        input_size=None if args.input_size is None else tuple(args.input_size),
        allow_pickle=args.allow_pickle,
    )
    shapes = [
        ', '.join(f'{name} {"x".join(map(str, shape))}' for name, shape in part.items())
        for part in (made.inputs, made.outputs)
    ]
    print(f'{made.path}: {made.path.stat().st_size / 1024**2:.1f} MiB, {shapes[0]} -> {shapes[1]}')
    print(f'largest deviation from the model: {made.deviation:.1e} of the largest value')
    if args.rounds:
        from mmopt.apis.bench.exported import throughput_table

        print(throughput_table([made], args.rounds))


if __name__ == '__main__':
    run_tool(main)
