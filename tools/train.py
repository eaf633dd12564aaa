#!/usr/bin/env python
"""Train one config.

python tools/train.py configs/baseline/lss_swin_nuscenes_high_memory.py --options runner.max_iters=300
python tools/train.py CONFIG --precision bf16 --dry-run --memory         # say what would run and take, and stop
python tools/train.py CONFIG --auto-resume                               # go on; --overwrite: begin anew
python tools/train.py CONFIG --work-dir runs/y --resume-from runs/x/best_mIoU.pth
bash tools/dist_train.sh CONFIG 4                                        # 4 GPUs
"""

import argparse
import sys
from collections.abc import Sequence

from mmopt.apis import add_config_flags, config_arguments, run_tool
from mmopt.apis.cli.flags import add_weight_flags, check_launch, gpu_ids, prepare_work_dir, weight_arguments


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_flags(parser)
    start = parser.add_mutually_exclusive_group()
    start.add_argument('--resume-from', metavar='CKPT', help='go on from this checkpoint')
    start.add_argument('--auto-resume', action='store_true', help='go on from the newest checkpoint in the work dir')
    start.add_argument('--overwrite', action='store_true', help='begin anew in a used work dir; moves its files away')
    parser.add_argument('--load-from', metavar='CKPT', help='start with the weights of this checkpoint')
    add_weight_flags(parser)
    parser.add_argument('--no-validate', action='store_true', help='do not evaluate while training')
    parser.add_argument('--dry-run', action='store_true', help='print what would run, and stop')
    parser.add_argument('--memory', action='store_true', help='with --dry-run: estimate the memory too (seconds)')
    args = parser.parse_args(argv)
    if args.memory and not args.dry_run:
        parser.error('--memory belongs to --dry-run')
    return args


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    check_launch(args)
    # Both before mmengine is imported: it takes seconds and starts CUDA.
    if not args.dry_run:
        prepare_work_dir(args)
    from mmopt.apis.cli.device import select_gpus

    if warning := select_gpus(gpu_ids(args)):
        print(f'warning: {warning}', file=sys.stderr)
    from mmopt.apis.config import load_config, without_validation
    from mmopt.apis.run.start import set_start, start_of
    from mmopt.apis.run.train import preflight, train
    from mmopt.apis.run.work_dir import check_work_dir

    cfg = load_config(**config_arguments(args))
    cfg.update(weight_arguments(args))
    set_start(
        cfg,
        load_from=args.load_from,
        resume_from=args.resume_from,
        auto_resume=args.auto_resume,
        anew=args.overwrite,
    )
    if args.no_validate:
        without_validation(cfg)
    if args.dry_run:
        print(preflight(cfg, start_of(cfg)))
        if args.memory:
            from mmopt.apis.memory.estimate import estimate_memory
            from mmopt.apis.memory.table import plan_memory

            precisions = [args.precision] if args.precision else []
            print(plan_memory(estimate_memory(args.config, options=args.options, precisions=precisions)))
        check_work_dir(cfg, overwrite=args.overwrite)
        return 0
    return train(cfg, overwrite=args.overwrite).exit_code


if __name__ == '__main__':
    run_tool(main, goes_on=True)
