"""How long a whole training would take: its iterations, evaluations and checkpoints, times their measured cost."""

import math
from collections.abc import Mapping
from typing import Any

from mmopt.engine.loops.evaluation_points import should_evaluate

__all__ = ['count_schedule', 'project_hours']


def count_schedule(cfg: Mapping[str, Any], num_train: int, num_val: int) -> dict[str, Any]:
    """Count what a run does from beginning to end.

    Args:
        cfg: A lowered config.
        num_val: Validation samples; 0 without validation.

    Returns:
        ``iters``, ``evaluations``, ``val_batches`` per evaluation, ``saves``, and what they follow from.
    """
    loop, loader = cfg['train_cfg'], cfg['train_dataloader']
    batch = loader.get('batch_size', 1)
    rounding = math.floor if loader.get('drop_last') else math.ceil
    per_epoch = max(1, rounding(num_train / batch))
    by_epoch = not loop.get('max_iters')
    units = loop['max_epochs'] if by_epoch else loop['max_iters']
    iters = units * per_epoch if by_epoch else units
    evaluations = 0
    if num_val and cfg.get('val_cfg') is not None:
        first, rule = loop.get('val_begin', 1), (loop.get('val_interval', 1), loop.get('val_start'))
        points = [
            done
            for done in range(1, units + 1)
            if done >= first and should_evaluate(done, *rule, loop.get('dynamic_intervals'))
        ]
        at_end = loop.get('val_at_end', True) and (not points or points[-1] != units)
        evaluations = len(points) + at_end
    val_batch = (cfg.get('val_dataloader') or {}).get('batch_size', 1)
    return dict(
        iters=iters,
        evaluations=evaluations,
        val_batches=math.ceil(num_val / val_batch),
        saves=_count_saves(cfg, iters, per_epoch),
        num_train=num_train,
        num_val=num_val,
    )


def _count_saves(cfg: Mapping[str, Any], iters: int, per_epoch: int) -> int:
    hook = (cfg.get('default_hooks') or {}).get('checkpoint', dict(interval=1))
    if not hook:
        return 0
    units = iters // per_epoch if hook.get('by_epoch', True) else iters
    interval = hook.get('interval', -1)
    saves = units // interval if interval > 0 else 0
    last = hook.get('save_last', True) and (interval < 1 or units % interval != 0)
    return saves + bool(last)


def project_hours(
    trial: Mapping[str, Any],
    cfg: Mapping[str, Any],
    *,
    num_train: int | None = None,
    num_val: int | None = None,
    validate: bool = True,
) -> dict[str, float]:
    """Extend a trial to the whole schedule.

    Args:
        trial: What a trial measured.
        cfg: The setting's lowered config.
        num_train: Training samples of the whole data set; by default those that were there.
        num_val: Its validation samples.
        validate: Whether to count evaluations.

    Returns:
        Hours of training, evaluation, saving, and their sum ``total``; empty where evaluation was not measured, or the
        schedule has several phases.
    """
    # A trial measures the first phase; the hours of several are added up from one row each.
    if 'save_s' not in trial or len(cfg['train_cfg'].get('phases') or ()) > 1:
        return {}
    there = trial['schedule']
    schedule = count_schedule(
        cfg, there['num_train'] if num_train is None else num_train, there['num_val'] if num_val is None else num_val
    )
    iter_s = sorted(trial['iter_s'])[len(trial['iter_s']) // 2]
    hours = dict(
        train=schedule['iters'] * iter_s / 3600,
        evaluate=schedule['evaluations'] * schedule['val_batches'] * trial.get('val_batch_s', 0.0) / 3600 * validate,
        save=schedule['saves'] * trial['save_s'] / 3600,
    )
    return hours | dict(total=sum(hours.values()))
