#!/usr/bin/env python
"""Make data and configs of one annotated session: tracks and intervals in, tad_v7.py and tad_v6.py out.

python tools/datasets/prepare_session.py pose.csv intervals.txt --out data/session --fps 25 --pix-per-cm 10
python tools/train.py data/session/tad_v7.py

Classes, anchors, windows, body parts and model size follow from the session's first part. The session is divided in
time: to train on, to choose settings by, and to report once.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmopt.apis import run_tool
from mmopt.apis.cli.outputs import check_folder
from mmopt.utils.shipped import tool_command

_FPS = 30.0  # of most cameras
_ARENA_CM = 50.0


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('pose', type=Path, help='tracks of DeepLabCut, SimBA or SLEAP')
    parser.add_argument('annotation', type=Path, help='intervals of Caltech, Bento, BORIS or SimBA')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder for data and configs')
    parser.add_argument('--fps', type=float, help='frames per second; default: what the annotation says, else 30')
    parser.add_argument(
        '--pix-per-cm', type=float, help='scale; default: the longer side of the tracked area counts as 50 cm'
    )
    parser.add_argument('--min-likelihood', type=float, default=0.0, help='points below it count as missing; default 0')
    parser.add_argument('--val-share', type=float, default=1 / 3, help='its middle, to choose settings by (1/3)')
    parser.add_argument('--test-share', type=float, default=1 / 3, help='its end, kept for the report (1/3)')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    check_folder(args.out, '--out')
    from mmopt.datasets.tad.prepare.annotations import declared_fps, times_are_seconds
    from mmopt.datasets.tad.prepare.recipe import plan, write_configs
    from mmopt.datasets.tad.prepare.session import NUM_STAGES, Session, import_session
    from mmopt.utils.errors import UserError
    from mmopt.utils.parallel import stage_bar

    declared = declared_fps(args.annotation)
    fps = args.fps or declared
    if fps is None:
        if times_are_seconds(args.annotation):
            raise UserError(f'{args.annotation}: its times are seconds and it names no frame rate: give --fps.')
        fps = _FPS
        print(f'No file says the frames per second: {fps:g} is taken, which scales speeds; --fps says another.')
    elif declared is not None and args.fps is not None and abs(declared - args.fps) > 0.01 * args.fps:
        print(f'{args.annotation} says {declared:g} frames per second; --fps {args.fps:g} counts.')
    session = Session(
        pose=args.pose,
        annotation=args.annotation,
        fps=fps,
        pixels_per_cm=args.pix_per_cm,
        arena_cm=_ARENA_CM,
        min_likelihood=args.min_likelihood,
        val_share=args.val_share,
        test_share=args.test_share,
    )
    with stage_bar(NUM_STAGES + 1) as bar:
        imported = import_session(session, args.out, bar.write, bar.update)
        recipe = plan(args.out, imported)  # anchors and windows are chosen by what they reach on the first part
        bar.update()
    for path in write_configs(args.out, recipe, imported.frames['train'], str(args.out)):
        print(f'wrote {path}')
    print(f'next: {tool_command("train", args.out / "tad_v7.py")}')


if __name__ == '__main__':
    run_tool(main, goes_on=True)
