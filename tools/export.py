#!/usr/bin/env python
"""Export a trained model, from uint8 pictures to the final result: ONNX or torch.export's archive, checked.

python tools/export.py CONFIG CHECKPOINT --out model.onnx                      # needs pip install -e '.[export]'
python tools/export.py CONFIG CHECKPOINT --out model.pt2 --batch 4             # any batch, without --batch
python tools/export.py CONFIG CHECKPOINT --out model.onnx --rounds 20          # and time model and graph
python tools/predict.py model.onnx SOURCE --out DIR                            # use it

It is traced with samples of the test set, without its files with made-up ones, or with random images of --input-size,
and compared with the model's predictions. --raw exports the bare network, from what the data preprocessor gives to what
the heads give, as does a model that offers no graph to the final result.
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
    parser.add_argument('--batch', type=int, metavar='N', help='the one batch size of the graph; default: any')
    parser.add_argument('--raw', action='store_true', help='the bare network: normalized images in, heads out')
    parser.add_argument('--tta', action='store_true', help='with test-time augmentation inside of the graph')
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
    from mmopt.apis.export.complete import export_complete, offers_graph
    from mmopt.apis.export.export import export_model
    from mmopt.apis.run.tta import apply_tta

    check_file(args.out, '--out')
    cfg = load_config(args.config, options=args.options)
    cfg.update(weight_arguments(args))
    if args.tta:
        cfg = apply_tta(cfg)
    options = dict(
        input_size=None if args.input_size is None else tuple(args.input_size), allow_pickle=args.allow_pickle
    )
    if args.raw or not offers_graph(cfg):
        if not args.raw:
            print('The model offers no graph to the final result: its bare network is exported, as with --raw.')
        made = export_model(cfg, args.checkpoint, args.out, batch_size=args.batch or 1, **options)
    else:
        made = export_complete(cfg, args.checkpoint, args.out, batch_size=args.batch, **options)
    print(f'{made.path}: {made.path.stat().st_size / 1024**2:.1f} MiB, {made.text}')
    print(f'largest deviation from the model: {made.deviation:.1e} of the largest value')
    for note in made.notes:
        print(f'note: {note}')
    if args.rounds:
        from mmopt.apis.bench.exported import throughput_table

        print(throughput_table([made], args.rounds))


if __name__ == '__main__':
    run_tool(main)
