#!/usr/bin/env python
"""Predict with a trained model, and write what was found in formats that other tools read.

python tools/predict.py work_dirs/x/best_mAP50.pth street.jpg folder 'more/**/*.png' list.txt --out found
python tools/predict.py work_dirs/x/best_mAP50.pth film.mp4 --start 1:30 --step 0.5s --out found
python tools/predict.py CONFIG CHECKPOINT SOURCE ... --out DIR --format csv coco --conf 0.25
python tools/predict.py model.onnx SOURCE ... --out DIR                     # a file of tools/export.py
python tools/predict.py work_dirs/mice/best_F1.pth tracks.csv --fps 30 --pix-per-cm 16 --out found
python tools/predict.py work_dirs/driver/best_accuracy.pth --view front=a.mp4 left=b.mp4 right=c.mp4 --out found
python tools/predict.py work_dirs/bev/best_mIoU.pth street.jpg --intrinsics 1266,1266,816,491 --out found

Sources are what the model was trained on: pictures and films, tracks of animals (parquet, DeepLabCut, SimBA, SLEAP),
folders with a film per view. The checkpoint knows its config; one that does not needs it named first. The same command
goes on after an interruption.
Exit codes: 0, all pictures are predicted. 2, a mistake that you can mend. 3, some pictures could not be read: they are
listed in DIR/predictions.json. 130, Ctrl-C: what is done stays.
"""

import argparse
import sys
from collections.abc import Sequence

from mmopt.apis import run_tool
from mmopt.apis.cli.flags import PRECISIONS, add_weight_flags

EXIT_SKIPPED = 3
SOURCE_FLAGS = {
    'tracks of animals': {
        '--pix-per-cm': dict(help='scale'),
        '--arena-cm': dict(help='longer side of the arena; default: of the area that was tracked'),
        '--min-likelihood': dict(help='points below it count as missing'),
        '--behaviors': dict(nargs='+', help='look for these: mouse1,mouse2,attack, self,rear, pair,sniff, all,dig'),
        '--parts': dict(nargs='+', metavar='FILE=MODEL', help='what the model calls the parts of the file'),
    },
    'films of several views': {
        '--view': dict(nargs='+', metavar='VIEW=FILE', help='the films of a recording, in the place of its folder'),
        '--keypoints': dict(metavar='DIR', help='keypoints of a recording, a file per frame'),
        '--window-s': dict(help='seconds of a window; default: as the segments of the training'),
        '--step-s': dict(help='seconds from one window to the next; default: half a window'),
        '--segments': dict(metavar='FILE', help='predict these segments (a table, labels, a folder of them)'),
    },
    'pictures with a camera matrix': {
        '--intrinsics': dict(metavar='FX,FY,CX,CY', help='camera matrix of the pictures, in pixels'),
        '--intrinsics-size': dict(metavar='WxH', help='size of the picture that the matrix is of'),
        '--calib': dict(metavar='FILE', help='camera matrices by name; default: the calib.json beside the pictures'),
        '--camera': dict(help='camera of a nuScenes folder (default: CAM_FRONT) or of a key frame (all)'),
        '--version': dict(help='tables of a nuScenes folder that holds several'),
    },
}
"""What can be said of sources, by kind; the data set class of the model takes its own."""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'paths',
        nargs='+',
        metavar='[CONFIG] CHECKPOINT SOURCE',
        help='pictures, films, tracks, folders, patterns, .txt, frames/%%06d.png, - (standard input), a camera number',
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
        help='detection: json coco csv yolo png mp4; segmentation: json csv png color overlay npz mp4; tracks: json '
        'kaggle csv totals boris simba png; films of several views: json csv actions png; maps: json csv png overlay '
        'npz mp4; others: json csv npz png mp4; default: all but npz, of films json, coco, csv and mp4',
    )
    parser.add_argument('--show-every', type=int, metavar='N', help='draw every Nth picture or frame alone')
    parser.add_argument('--conf', type=float, metavar='C', help='leave out what is less certain; default: keep all')
    parser.add_argument('--tta', action='store_true', help='predict mirror images and other sizes as well, and merge')
    films = parser.add_argument_group('films', 'Moments are frames (300), or seconds (12.5s, 1:30).')
    films.add_argument('--start', metavar='M', help='the first frame; default: 0')
    films.add_argument('--end', metavar='M', help='the first frame that is left out; default: the end')
    films.add_argument('--step', metavar='M', help='from one frame to the next; default: 1')
    films.add_argument('--fps', type=float, metavar='F', help='rate of tracks, or of folders of numbered frames')
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
    for kind, flags in SOURCE_FLAGS.items():
        group = parser.add_argument_group(kind)
        for flag, settings in flags.items():
            group.add_argument(flag, **settings)
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
    if not sources and not (args.view or args.keypoints):  # before the model is built, which takes a while
        raise UserError('There is no source: name pictures, films, tracks, folders or patterns behind the model.')
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
        source_options={
            name: getattr(args, name)
            for flags in SOURCE_FLAGS.values()
            for name in (flag.removeprefix('--').replace('-', '_') for flag in flags)
        },
        allow_partial=args.allow_partial,
        strip_prefix=args.strip_prefix,
        allow_pickle=args.allow_pickle,
        tta=args.tta,
    )
    try:
        done = predict_into(predictor, sources, args.out, options)
    except KeyboardInterrupt:
        print('\nWhat is done stays; the same command goes on.', file=sys.stderr)
        raise
    before = f', {done.num_before} were done before' if done.num_before else ''
    kind = 'recordings' if predictor.is_cutting else 'pictures'
    print(f'{done.num_new} {kind} predicted{before}, {len(done.skipped)} skipped')
    for path in (*done.files, f'{args.out}/predictions.json'):
        print(f'  {path}')
    return EXIT_SKIPPED if done.skipped else 0


if __name__ == '__main__':
    run_tool(main)
