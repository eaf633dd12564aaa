#!/usr/bin/env python
"""Compute the metrics of a checkpoint.

python tools/test.py configs/baseline/lss_swin_nuscenes.py work_dirs/lss_swin_nuscenes/best_mIoU.pth
python tools/test.py CONFIG CKPT --show-dir pictures --num-pictures 20 --out metrics.json
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from mmopt.apis import add_config_flags, config_arguments, run_tool
from mmopt.apis.cli.flags import add_weight_flags, check_launch, gpu_ids, weight_arguments


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_flags(parser)
    parser.add_argument('checkpoint', help='weights to test')
    add_weight_flags(parser)
    parser.add_argument('--tta', action='store_true', help='predict mirror images and other sizes as well, and merge')
    parser.add_argument('--show-dir', metavar='DIR', help='write pictures of predictions there')
    parser.add_argument('--num-pictures', type=int, default=8, metavar='N', help='pictures, spread over the test set')
    parser.add_argument('--out', metavar='JSON', help='write the metrics there')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    check_launch(args)
    from mmopt.apis.cli.device import select_gpus

    if warning := select_gpus(gpu_ids(args)):
        print(f'warning: {warning}', file=sys.stderr)
    from mmengine.dist import is_main_process

    from mmopt.apis.cli.outputs import check_file, check_folder
    from mmopt.apis.config import load_config
    from mmopt.apis.run.evaluate import evaluate, table_notes
    from mmopt.apis.run.summary import format_metrics
    from mmopt.apis.run.tta import apply_tta

    cfg = load_config(**config_arguments(args))
    cfg.update(weight_arguments(args))
    if args.tta:
        cfg = apply_tta(cfg)
    if args.work_dir is None:
        # Not in the training's work dir: its latest.log would then be this test's.
        cfg.work_dir = str(Path(cfg.work_dir, 'test'))
    for path, flag, check in ((args.out, '--out', check_file), (args.show_dir, '--show-dir', check_folder)):
        if path is not None:
            check(path, flag)

    def report(metrics: dict[str, float]) -> None:
        if not is_main_process():
            return
        print(f'{args.checkpoint}\n{format_metrics(metrics, notes=table_notes(cfg.test_evaluator))}', flush=True)
        if args.out:
            Path(args.out).parent.mkdir(parents=True, exist_ok=True)
            finite = {key: value if value == value else None for key, value in metrics.items()}  # JSON has no NaN
            written = dict(config=args.config, checkpoint=args.checkpoint, metrics=finite)
            Path(args.out).write_text(json.dumps(written, indent=2) + '\n', encoding='utf-8')
            print(f'  metrics: {args.out}', flush=True)

    evaluate(cfg, args.checkpoint, show_dir=args.show_dir, num_pictures=args.num_pictures, report=report)
    if args.show_dir and is_main_process() and any(Path(args.show_dir).glob('*.jpg')):
        print(f'  pictures: {args.show_dir}')
    return 0


if __name__ == '__main__':
    run_tool(main, goes_on=True)
