#!/usr/bin/env python
"""Predict pictures and films with a trained model, and write what was found in formats that other tools read.

python tools/predict.py work_dirs/x/best_mAP50.pth street.jpg folder 'more/**/*.png' list.txt --out found
python tools/predict.py work_dirs/x/best_mAP50.pth film.mp4 --start 1:30 --step 0.5s --out found
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
        'paths',
        nargs='+',
        metavar='[CONFIG] CHECKPOINT SOURCE',
        help="pictures, films, folders, patterns, .txt, frames/%%06d.png, - (standard input), a camera's number",
    )
    parser.add_argument('--out', required=True, metavar='DIR', help='where everything is written')
    parser.add_argument(
        '--batch', metavar='N|auto', help="pictures at once; auto: as many as are fastest; default: the evaluation's"
    )
    parser.add_argument(
        '--format',
        nargs='+',
        action='extend',
        metavar='NAME',
        help='detection: json coco csv yolo png mp4; segmentation: json csv png color overlay npz mp4; others: json '
        'csv npz png mp4; default: all that the model has, of films json, coco, csv and mp4',
    )
    parser.add_argument('--show-every', type=int, metavar='N', help='draw every Nth picture or frame alone')
    parser.add_argument('--conf', type=float, metavar='C', help='leave out boxes of less confidence; default: keep all')
    films = parser.add_argument_group('films', 'Moments are frames (300), or seconds (12.5s, 1:30).')
    films.add_argument('--start', metavar='M', help='the first frame; default: 0')
    films.add_argument('--end', metavar='M', help='the first frame that is left out; default: the end')
    films.add_argument('--step', metavar='M', help='from one frame to the next; default: 1')
    films.add_argument('--fps', type=float, metavar='F', help='folders of numbered frames are films of this rate')
    films.add_argument('--events', metavar='DIR', help='event frames of the pictures, for a model that takes pairs')
    parser.add_argument('--strict', action='store_true', help='stop at a picture that cannot be read; default: skip it')
    parser.add_argument('--overwrite', action='store_true', help='remove the predictions in DIR and begin anew')
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
    from mmopt.apis.predict.run import Options, predict_into
    from mmopt.utils.errors import UserError

    num_models = 2 if is_config(args.paths[0]) else 1
    model, sources = args.paths[:num_models], args.paths[num_models:]
    if not sources:
        raise UserError('There is no source: name pictures, films, folders, patterns or a list behind the checkpoint.')
    check_folder(args.out, '--out')
    names = ('show_every', 'strict', 'overwrite', 'start', 'end', 'step', 'fps', 'events')
    options = Options(
        formats=None if args.format is None else [name for text in args.format for name in text.split(',') if name],
        confidence=args.conf,
        **{name: getattr(args, name) for name in names},
    )
    predictor = Predictor(
        *model,
        device=args.device,
        precision=args.precision,
        batch_size=int(args.batch) if args.batch and args.batch.isdecimal() else args.batch,
        options=args.options,
        allow_partial=args.allow_partial,
        strip_prefix=args.strip_prefix,
        allow_pickle=args.allow_pickle,
    )
    try:
        done = predict_into(predictor, sources, args.out, options)
    except KeyboardInterrupt:
        print('\nWhat is done stays; the same command goes on.', file=sys.stderr)
        raise
    before = f', {done.num_before} were done before' if done.num_before else ''
    print(f'{done.num_new} pictures predicted{before}, {len(done.skipped)} files skipped')
    for path in (*done.files, f'{args.out}/predictions.json'):
        print(f'  {path}')
    return EXIT_SKIPPED if done.skipped else 0


if __name__ == '__main__':
    run_tool(main)
