#!/usr/bin/env python
"""Propose anchors from the training data's own distribution, with the recall they reach.

python tools/fit_anchors.py configs/baseline/tad_v7_mabe_5090.py
python tools/fit_anchors.py CONFIG --num-anchors 6 --min-iou 0.6 --options data.data_root=data/rats

Works for every data set with a method anchor_sizes() -> array (N, 1) of interval lengths or (N, 2) of box sizes, as the
model sees them (clipped to the window, scaled with the image). A CSV with columns start and stop does as well:

python tools/fit_anchors.py intervals.csv --num-anchors 5
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

from mmopt.apis import run_tool


def positive(text: str) -> int:
    """Read a whole number above 0."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path, help='config, or a CSV with columns start and stop (stop included)')
    parser.add_argument('--num-anchors', type=positive, metavar='K', help="default: as many as the config's, else 5")
    parser.add_argument('--min-iou', type=float, default=0.5, help='overlap that counts as found; default: %(default)s')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--options', '--cfg-options', nargs='+', default=[], metavar='KEY=VALUE')
    args = parser.parse_args(argv)
    if args.num_anchors is not None and args.num_anchors < 1:
        parser.error(f'--num-anchors must be at least 1, got {args.num_anchors}')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    # After the arguments: importing torch takes seconds.
    import numpy as np

    from mmopt.ops.fit_anchors import anchor_recall, fit_anchors, size_iou
    from mmopt.utils.errors import UserError

    sizes, current = _from_csv(args.source) if args.source.suffix == '.csv' else _from_config(args)
    if not len(sizes):
        raise UserError(f'{args.source}: no event or box to fit anchors to.')
    num_anchors = args.num_anchors or (5 if current is None else len(current))
    num_distinct = len(np.unique(sizes, axis=0))
    if num_anchors > num_distinct:
        raise UserError(
            f'{args.source}: {num_anchors} anchors need as many different sizes, its {len(sizes)} events or boxes have '
            f'{num_distinct}: give --num-anchors {num_distinct} or fewer, or more data.'
        )
    low, middle, high = np.percentile(sizes, [5, 50, 95], axis=0).round(1).tolist()
    print(f'{len(sizes)} sizes: 5 % {low}, median {middle}, 95 % {high}')
    fitted = fit_anchors(sizes, num_anchors, args.seed)
    for name, anchors in dict(fitted=fitted, **({} if current is None else {'config': current})).items():
        listed = [tuple(row) if len(row) > 1 else row[0] for row in np.round(anchors, 1).tolist()]
        recall, mean = anchor_recall(sizes, anchors, args.min_iou), size_iou(sizes, anchors).max(axis=1).mean()
        print(f'{name:7} {listed}: recall at IoU {args.min_iou:g} {recall:.3f}, mean best IoU {mean:.3f}')


def _from_csv(path: Path):
    import numpy as np

    from mmopt.utils.errors import DataError, DataNotFoundError

    if not path.is_file():
        raise DataNotFoundError(f'{path} does not exist.')
    lengths = []
    with path.open(newline='', encoding='utf-8') as file:
        reader = csv.DictReader(file)
        if not {'start', 'stop'} <= set(reader.fieldnames or ()):
            raise DataError(f'{path}: needs the columns start and stop; found {reader.fieldnames or "nothing"}.')
        for row in reader:
            try:
                length = float(row['stop']) - float(row['start']) + 1
                if not 0 < length < float('inf'):
                    raise ValueError
            except (TypeError, ValueError) as error:
                raise DataError(f'{path}:{reader.line_num}: start and stop must be numbers in order: {row}.') from error
            lengths.append([length])
    return np.array(lengths).reshape(-1, 1), None


def _from_config(args: argparse.Namespace):
    import numpy as np
    from mmengine.registry import init_default_scope

    from mmopt.apis import load_config
    from mmopt.registry import DATASETS
    from mmopt.utils.errors import UserError

    cfg = load_config(args.source, options=args.options)
    init_default_scope('mmopt')
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    if not hasattr(dataset, 'anchor_sizes'):
        raise UserError(f'{type(dataset).__name__} has no method anchor_sizes(), so there is nothing to fit.')
    sizes = dataset.anchor_sizes()
    # Lengths in one list, or boxes per level of an anchor head.
    current = cfg.model.get('anchor_lengths') or (cfg.model.get('head') or {}).get('anchors')
    return sizes, None if current is None else np.array(current, dtype=float).reshape(-1, sizes.shape[1])


if __name__ == '__main__':
    run_tool(main)
