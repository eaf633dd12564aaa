#!/usr/bin/env python
"""Check and index a download of Kaggle's "MABe Challenge - Social Action Recognition in Mice", or import a session.

python tools/datasets/prepare_mabe.py                                # data/mabe: checks, counts, splits
python tools/datasets/prepare_mabe.py --data-root D --skip-missing   # leave broken videos out
python tools/datasets/prepare_mabe.py --data-root data/rats --pose pose.csv --annotation intervals.txt \\
    --fps 25 --pix-per-cm 16                                         # DeepLabCut CSV + Caltech annotation

Get the data with: kaggle competitions download -c MABe-mouse-behavior-detection; unpack it into data/mabe.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmopt.apis import run_tool
from mmopt.utils.host import usable_cores
from mmopt.utils.shipped import tool_command


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data-root', type=Path, default=Path('data/mabe'), metavar='DIR', help='default: %(default)s')
    parser.add_argument('--val-share', type=float, help="of each lab's videos (0.2), of a session (1/3)")
    parser.add_argument('--skip-missing', action='store_true', help='leave out videos with missing or broken files')
    parser.add_argument('--workers', type=int, default=min(usable_cores(), 8), help='default: %(default)s')
    session = parser.add_argument_group('one session, from its raw files')
    session.add_argument('--pose', type=Path, metavar='FILE', help='tracks of DeepLabCut, SimBA or SLEAP')
    session.add_argument('--annotation', type=Path, metavar='FILE', help='intervals of Caltech, Bento, BORIS or SimBA')
    session.add_argument('--fps', type=float, help='frames per second')
    session.add_argument('--pix-per-cm', type=float, help='scale')
    session.add_argument('--min-likelihood', type=float, help='points below it count as missing; default: none does')
    session.add_argument('--test-share', type=float, help='its end, kept for the report (1/3)')
    args = parser.parse_args(argv)
    given = [args.pose, args.annotation, args.fps, args.pix_per_cm]
    if any(value is not None for value in given) and None in given:
        parser.error('a session needs all of --pose, --annotation, --fps and --pix-per-cm')
    if args.pose is None and not (args.min_likelihood is None and args.test_share is None):
        parser.error('--min-likelihood and --test-share belong to a session (--pose)')
    if args.pose is not None and args.skip_missing:
        parser.error('--skip-missing belongs to a download: a session has no file that can be left out')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if args.pose is None:
        from mmopt.datasets.tad.prepare.mabe import prepare

        shares = {} if args.val_share is None else dict(val_share=args.val_share)
        print(prepare(args.data_root, **shares, skip_missing=args.skip_missing, num_workers=max(args.workers, 0)))
        print(f'next: {tool_command("fit_anchors", "configs/baseline/tad_v7_mabe_5090.py")}')
        return
    from mmopt.datasets.tad.prepare.session import NUM_STAGES, Session, import_session
    from mmopt.utils.parallel import stage_bar

    chosen = {name: getattr(args, name) for name in ('min_likelihood', 'val_share', 'test_share')}
    session = Session(
        pose=args.pose,
        annotation=args.annotation,
        fps=args.fps,
        pixels_per_cm=args.pix_per_cm,
        **{name: value for name, value in chosen.items() if value is not None},
    )
    with stage_bar(NUM_STAGES) as bar:
        frames = import_session(session, args.data_root, bar.write, bar.update).frames
    counts = f'{frames["train"]} frames to train on, {frames["val"]} to choose by, the last {frames["test"]} to report'
    print(f'wrote {args.data_root}: {counts}')


if __name__ == '__main__':
    run_tool(main, goes_on=True)
