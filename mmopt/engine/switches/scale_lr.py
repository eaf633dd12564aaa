"""`optimize.scale_lr`: the learning rate for the samples that a step really takes.

Linear scaling is for SGD: Goyal et al., "Accurate, Large Minibatch SGD", 2017, https://arxiv.org/abs/1706.02677. The
square root is for Adam: Malladi et al., "On the SDEs and Scaling Rules for Adaptive Gradient Algorithms", NeurIPS 2022,
https://arxiv.org/abs/2205.10287. A step takes batch x accumulation x processes; micro-batches change nothing.
MMEngine's ``auto_scale_lr`` leaves out the accumulation.
"""

import copy
from collections.abc import Mapping
from typing import Any

from mmopt.config.spelling import spelled
from mmopt.engine.switches.effect import Effect
from mmopt.utils.errors import UserError
from mmopt.utils.numbers import is_number

__all__ = ['lr_factor', 'samples_per_step', 'scale_optimizer', 'scale_schedules']

# What schedulers of ours and of torch take as rates; all else in them is relative to the optimizer's.
_RATES = ('max_lr', 'min_lr', 'eta_min', 'base_lr')


def samples_per_step(cfg: Mapping[str, Any], world_size: int = 1) -> int | None:
    """Return the samples behind one optimizer step; None for a config that does not train."""
    loader, wrapper = cfg.get('train_dataloader'), cfg.get('optim_wrapper')
    if not loader or not wrapper:
        return None
    return (loader.get('batch_size') or 1) * (wrapper.get('accumulative_counts') or 1) * world_size


def lr_factor(cfg: Mapping[str, Any], world_size: int) -> tuple[float, str]:
    """Return what the learning rate of a config is multiplied by.

    Args:
        cfg: A lowered config.
        world_size: Processes of the run.

    Returns:
        The factor, 1 without ``optimize.scale_lr``, and how it comes about.

    Raises:
        UserError: If the base batch is not given, or MMEngine's ``auto_scale_lr`` is on as well.
    """
    optimize, auto = cfg.get('optimize') or {}, cfg.get('auto_scale_lr') or {}
    rule = optimize.get('scale_lr')
    samples = samples_per_step(cfg, world_size)
    if not rule or samples is None:
        return 1.0, ''
    if auto.get('enable'):
        raise UserError('optimize.scale_lr and auto_scale_lr.enable both scale the learning rate: drop the second.')
    # Where options changed the batch, the file's own batch is noted in auto_scale_lr.
    base = optimize.get('base_batch') or auto.get('base_batch_size')
    if not base:
        raise UserError(
            f'optimize.scale_lr={rule!r} needs the samples per step that the learning rate was written for: '
            f'optimize.base_batch=N (this run takes {samples}).'
        )
    factor = samples / base if rule == 'linear' else (samples / base) ** 0.5
    return factor, f'{rule} scaling from {base} to {samples} samples per step'


def scale_optimizer(optim_wrapper: Mapping[str, Any], factor: float, reason: str) -> tuple[dict[str, Any], Effect]:
    """Scale the learning rate; parameter groups multiply it, so all of them follow.

    Args:
        optim_wrapper: The section of a lowered config; is not changed.
        factor: From :func:`lr_factor`.
        reason: From :func:`lr_factor`.

    Returns:
        The section to build, and what was done.
    """
    wrapper = copy.deepcopy(dict(optim_wrapper))
    optimizer: Any = wrapper.get('optimizer')
    lr = optimizer.get('lr') if isinstance(optimizer, Mapping) else None
    if not isinstance(lr, int | float):
        return wrapper, Effect(
            f'there is no single {spelled("optim_wrapper.optimizer.lr")} to scale', is_effective=False
        )
    wrapper['optimizer'] = dict(optimizer, lr=lr * factor)
    return wrapper, Effect(f'lr {lr:g} -> {lr * factor:g}, {reason}')


def scale_schedules(schedules: Any, factor: float) -> Any:
    """Scale the rates that schedulers give as such (``max_lr``, ``min_lr``), so that the whole curve is scaled.

    Args:
        schedules: ``param_scheduler`` of a lowered config: a dict, a list of them, or such by optimizer.
        factor: From :func:`lr_factor`.

    Returns:
        The section to build; momentum schedules as they are.
    """
    if isinstance(schedules, list | tuple):
        return [scale_schedules(item, factor) for item in schedules]
    if not isinstance(schedules, Mapping):
        return schedules
    if 'type' not in schedules:
        return {name: scale_schedules(item, factor) for name, item in schedules.items()}
    if 'Momentum' in str(schedules['type']):
        return dict(schedules)
    return {key: _scaled(value, factor) if key in _RATES else value for key, value in schedules.items()}


def _scaled(value: Any, factor: float) -> Any:
    if isinstance(value, list | tuple):
        return [_scaled(item, factor) for item in value]
    return value * factor if is_number(value) else value
