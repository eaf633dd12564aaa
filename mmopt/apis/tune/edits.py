"""A point of the search space as changes to a config, in the dialect that the config is written in.

Batch and accumulation change together, so that the samples per step stay what they were; what counts iterations (the
length of the run, warm-up, evaluations, checkpoints) then changes as well, so that the run sees the same samples.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmopt.config import is_native, lower
from mmopt.config.precision import precision_of
from mmopt.engine.tuner import Point

__all__ = ['Edit', 'as_options', 'make_edits', 'scaled_lr']

_SWITCHES = ('channels_last', 'checkpointing', 'compile', 'fused_optimizer', 'tf32')
# Keys of a schedule that count iterations, one by one or as a list.
_COUNTS = ('warmup_iters', 'step', 'periods', 'total_steps', 'begin', 'end', 'T_max', 'milestones', 'step_size')


@dataclass(frozen=True)
class Edit:
    """One line of a tuned config.

    Attributes:
        key: Dotted key.
        value: Its new value.
        knob: The knob that made it; ``'iterations'`` and ``'lr'`` follow from the batch.
    """

    key: str
    value: Any
    knob: str


def as_options(edits: Sequence[Edit]) -> tuple[str, ...]:
    """Write edits as ``--options`` takes them."""
    return tuple(f'{edit.key}={edit.value!r}' for edit in edits)


def scaled_lr(lr: float, effective: int, base_effective: int, rule: str) -> float:
    """Return the learning rate for another number of samples per step.

    Args:
        lr: The config's.
        effective: Samples per step now.
        base_effective: Those that the rate was written for.
        rule: ``'linear'`` or ``'sqrt'``.

    Returns:
        The rate; the same where the numbers are.
    """
    ratio = effective / base_effective
    return lr if ratio == 1 else lr * (ratio if rule == 'linear' else math.sqrt(ratio))


def make_edits(
    source: Mapping[str, Any],
    point: Point,
    *,
    effective: int,
    lr_rule: str = 'linear',
    lowered: Mapping[str, Any] | None = None,
) -> list[Edit]:
    """Turn a point into edits of a config.

    Args:
        source: The config as it is written, ``_base_`` merged in, not lowered; is not changed.
        point: Knobs and values.
        effective: Samples per step that the tuned config has.
        lr_rule: How the learning rate follows where ``effective`` is not the config's own.
        lowered: ``source`` lowered; None lowers it here, which fails where it names a repository's own schedule.

    Returns:
        The edits, those that change nothing left out.
    """
    lowered = lower(source) if lowered is None else lowered
    native = is_native(source)
    edits = [*_batch_edits(source, lowered, point['batch'], effective, native=native)]
    base_effective = lowered['train_dataloader'].get('batch_size', 1)
    base_effective *= lowered['optim_wrapper'].get('accumulative_counts') or 1
    lr = (lowered['optim_wrapper'].get('optimizer') or {}).get('lr')
    if lr is not None and effective != base_effective:
        key = 'optim_wrapper.optimizer.lr' if native else 'optimizer.lr'
        edits.append(Edit(key, scaled_lr(lr, effective, base_effective, lr_rule), 'lr'))
    if 'precision' in point and point['precision'] != precision_of(lowered['optim_wrapper']):
        edits.append(Edit('optimize.precision', point['precision'], 'precision'))
    optimize = source.get('optimize') or {}
    edits += [
        Edit(f'optimize.{name}', point[name], name)
        for name in _SWITCHES
        if name in point and point[name] != (optimize.get(name) or False)
    ]
    loader = lowered['train_dataloader']
    for knob, native_key, key in (
        ('workers', 'num_workers', 'workers_per_gpu'),
        ('prefetch', 'prefetch_factor', 'prefetch_factor'),
    ):
        now = loader.get(native_key, 2 if knob == 'prefetch' else 0)
        if knob in point and point[knob] != now:
            place = f'train_dataloader.{native_key}' if native else _data_key(source, (key,))
            edits.append(Edit(place, point[knob], knob))
    return edits


def _data_key(source: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return where the dialect has a loader's key: the training loader's own goes before the shared one."""
    data = source['data']
    own = data.get('train_dataloader') or {}
    for name in names:
        if name in own:
            return f'data.train_dataloader.{name}'
    return next((f'data.{name}' for name in names if name in data), f'data.{names[0]}')


def _batch_edits(
    source: Mapping[str, Any], lowered: Mapping[str, Any], batch: int, effective: int, *, native: bool
) -> list[Edit]:
    before = lowered['train_dataloader'].get('batch_size', 1)
    accumulation = lowered['optim_wrapper'].get('accumulative_counts') or 1
    edits = []
    if batch != before:
        names = ('samples_per_gpu', 'videos_per_gpu', 'imgs_per_gpu')
        edits.append(Edit('train_dataloader.batch_size' if native else _data_key(source, names), batch, 'batch'))
    if effective // batch != accumulation:
        key = 'optim_wrapper.accumulative_counts' if native else 'runner.accumulative_counts'
        edits.append(Edit(key, effective // batch, 'batch'))
    if batch != before:
        edits += [
            Edit(key, value, 'iterations') for key, value in _iteration_edits(source, before / batch, native=native)
        ]
    return edits


def _scale(value: Any, factor: float) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, list | tuple):
        return type(value)(_scale(item, factor) for item in value)
    # Intervals below 1 and infinite ends mean "never" and "to the end".
    if not isinstance(value, int | float) or value <= 0 or math.isinf(value) or value >= 10**9:
        return value
    return max(1, round(value * factor))


def _iteration_edits(source: Mapping[str, Any], factor: float, *, native: bool) -> list[tuple[str, Any]]:
    """Scale what counts iterations."""
    found: list[tuple[str, Any]] = []

    def scale(section: Mapping[str, Any] | None, path: str, keys: Sequence[str]) -> None:
        for key in keys:
            if section is None or section.get(key) is None:
                continue
            value = _scale(section[key], factor)
            if value != section[key]:
                found.append((f'{path}.{key}', value))

    if native:
        loop = source['train_cfg']
        if loop.get('max_iters'):
            scale(loop, 'train_cfg', ('max_iters', 'val_interval', 'val_begin', 'val_start'))
        checkpoint = (source.get('default_hooks') or {}).get('checkpoint') or {}
        if not checkpoint.get('by_epoch', True):
            scale(checkpoint, 'default_hooks.checkpoint', ('interval',))
        _native_schedules(source.get('param_scheduler'), factor, found.append)
        return found
    runner = source.get('runner') or {}
    by_iter = runner.get('max_iters') is not None
    if by_iter:
        scale(runner, 'runner', ('max_iters',))
        scale(source.get('evaluation'), 'evaluation', ('interval', 'start'))
    checkpoint = source.get('checkpoint_config') or {}
    if by_iter and not checkpoint.get('by_epoch', False):
        scale(checkpoint, 'checkpoint_config', ('interval',))
    for name in ('lr_config', 'momentum_config'):
        section = source.get(name) or {}
        keys = [] if section.get('warmup_by_epoch') else ['warmup_iters']
        if not section.get('by_epoch', not by_iter):
            keys += [key for key in _COUNTS if key != 'warmup_iters']
        scale(section, name, keys)
    return found


def _native_schedules(schedules: Any, factor: float, add: Callable[[tuple[str, Any]], None]) -> None:
    """Rewrite the whole list where an entry counts iterations: a config cannot merge into one entry of a list."""
    entries = [schedules] if isinstance(schedules, Mapping) else list(schedules or [])
    if not all(isinstance(entry, Mapping) and 'type' in entry for entry in entries):
        return
    scaled = copy.deepcopy([dict(entry) for entry in entries])
    for entry in scaled:
        by_epoch = entry.get('by_epoch', True)
        for key in _COUNTS:
            counts_iters = key == 'warmup_iters' and not entry.get('warmup_by_epoch')
            if key in entry and (counts_iters or not by_epoch):
                entry[key] = _scale(entry[key], factor)
    if scaled != entries:
        add(('param_scheduler', scaled))
