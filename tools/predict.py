#!/usr/bin/env python
"""Predict pictures with a trained model, and write what was found in formats that other tools read.

python tools/predict.py work_dirs/x/best_mAP50.pth street.jpg folder 'more/**/*.png' list.txt --out found
python tools/predict.py CONFIG CHECKPOINT SOURCE ... --out DIR --format csv coco --conf 0.25

The checkpoint knows its config; one that does not needs it named first. The same command goes on after an interruption.
Exit codes: 0, all pictures are predicted. 2, a mistake that you can mend. 3, some pictures could not be read: they are
listed in DIR/predictions.json. 130, Ctrl-C: what is done stays.
"""

import argparse
import sys
from collections.abc import Sequence

from mmopt.apis import run_tool
from mmopt.apis.cli.flags import PRECISIONS, add_weight_flags

EXIT_SKIPPED = 3


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'paths', nargs='+', metavar='[CONFIG] CHECKPOINT SOURCE', help='pictures, folders, patterns, .txt'
    )
    parser.add_argument('--out', required=True, metavar='DIR', help='where everything is written')
    parser.add_argument('--batch', type=int, metavar='N', help="pictures at once; default: the evaluation's")
    parser.add_argument(
        '--format',
        nargs='+',
        action='extend',
        metavar='NAME',
        help='detection: json coco csv yolo png; segmentation: json csv png color overlay; others: json csv npz png; '
        'default: all that the model has',
    )
    parser.add_argument('--conf', type=float, metavar='C', help='leave out boxes of less confidence; default: keep all')
    parser.add_argument('--strict', action='store_true', help='stop at a picture that cannot be read; default: skip it')
    parser.add_argument('--options', '--cfg-options', nargs='+', action='extend', default=[], metavar='KEY=VALUE')
    parser.add_argument('--device', default='auto', help='cpu, cuda, cuda:1, mps; default: the best there is')
    parser.add_argument('--precision', choices=PRECISIONS, default='auto', help='auto: what an evaluation computes in')
    add_weight_flags(parser)
    parser.add_argument(
        '--allow-pickle', action='store_true', help='load arbitrary Python objects, if you trust the checkpoint'
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    # After the arguments: importing torch takes seconds.
    from mmopt.apis.cli.outputs import check_folder
    from mmopt.apis.predict.predictor import Predictor, is_config
    from mmopt.apis.predict.run import predict_into
    from mmopt.utils.errors import UserError

    num_models = 2 if is_config(args.paths[0]) else 1
    model, sources = args.paths[:num_models], args.paths[num_models:]
    if not sources:
        raise UserError('There is no source: name pictures, folders, patterns or a text list behind the checkpoint.')
    check_folder(args.out, '--out')
    formats = None if args.format is None else [name for text in args.format for name in text.split(',') if name]
    predictor = Predictor(
        *model,
        device=args.device,
        precision=args.precision,
        batch_size=args.batch,
        options=args.options,
        allow_partial=args.allow_partial,
        strip_prefix=args.strip_prefix,
        allow_pickle=args.allow_pickle,
    )
    try:
        done = predict_into(predictor, sources, args.out, formats=formats, confidence=args.conf, strict=args.strict)
    except KeyboardInterrupt:
        print('\nWhat is done stays; the same command goes on.', file=sys.stderr)
        raise
    before = f', {done.num_before} were done before' if done.num_before else ''
    print(f'{done.num_new} pictures predicted{before}, {len(done.skipped)} skipped')
    for path in (*done.files, f'{args.out}/predictions.json'):
        print(f'  {path}')
    return EXIT_SKIPPED if done.skipped else 0


if __name__ == '__main__':
    run_tool(main)
