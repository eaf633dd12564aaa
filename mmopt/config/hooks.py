"""`checkpoint_config`, `log_config`, `custom_hooks` -> default hooks, custom hooks, log processor, visualizer."""

import copy
from collections.abc import Mapping
from typing import Any

from mmopt.config.evaluation import best_rule
from mmopt.config.keys import BACKENDS, BUILT_IN_HOOKS, REFUSED_HOOKS, REFUSED_LOGGERS, SECTIONS, passed_on
from mmopt.config.schedule import RunLength
from mmopt.config.schema import ConfigError, check_keys, check_type

__all__ = ['lower_checkpoint', 'lower_custom_hooks', 'lower_logging']


def lower_checkpoint(cfg: Mapping[str, Any], run: RunLength) -> dict[str, Any]:
    """Lower ``checkpoint_config`` and the best-checkpoint keys of ``evaluation``.

    Args:
        cfg: The whole config.

    Returns:
        The ``CheckpointHook``'s config.

    Raises:
        ConfigError: If a key is unknown or the unit is not one MMCV saves in.
    """
    evaluation = cfg.get('evaluation') or {}
    section = cfg.get('checkpoint_config')
    # No section, no numbered checkpoints; the best one may still be wanted.
    given = dict(interval=-1, save_last=False) if section is None else dict(section)
    check_keys('checkpoint_config', given)
    lowered = dict(interval=-1, max_keep_ckpts=-1, save_last=True, by_epoch=not run.iter_based)
    lowered |= passed_on(SECTIONS['checkpoint_config'].keys, given, 'default_hooks.checkpoint')
    if lowered['by_epoch'] and run.iter_based:
        raise ConfigError(
            'checkpoint_config.by_epoch=True with IterBasedRunner: MMCV never ends an epoch there and would save '
            'nothing; write checkpoint_config=dict(by_epoch=False, interval=<iterations>).'
        )
    return dict(type='CheckpointHook', **lowered, save_best=evaluation.get('save_best'), rule=best_rule(evaluation))


def lower_logging(log_config: Mapping[str, Any], run: RunLength) -> dict[str, dict]:
    """Lower ``log_config``.

    Returns:
        ``logger`` (a default hook), ``log_processor`` and ``visualizer``.

    Raises:
        ConfigError: If a hook or a key has no counterpart, or the hooks disagree about the interval.
    """
    check_keys('log_config', log_config)
    hooks = [_read_logger_hook(hook) for hook in log_config.get('hooks') or []]
    interval = _log_interval(log_config, [own for _, own in hooks])
    logger = dict(type='LoggerHook', interval=interval, log_metric_by_epoch=not run.iter_based)
    by_epoch = not run.iter_based
    backends = [dict(type='LocalVisBackend')]
    for kind, own in hooks:
        keys = SECTIONS[f'log_config.hooks.{kind}'].keys
        if kind in BACKENDS:
            backends.append(dict(type=BACKENDS[kind], **passed_on(keys, own, 'visualizer.vis_backends')))
            continue
        logger |= passed_on(keys, own, 'default_hooks.logger')
        if own.get('by_epoch') in (False, 0) and not run.iter_based:
            by_epoch = logger['by_epoch'] = False
    return dict(
        logger=logger,
        log_processor=dict(type='LogProcessor', window_size=interval, by_epoch=by_epoch),
        visualizer=dict(type='Visualizer', vis_backends=backends, name='visualizer'),
    )


def _read_logger_hook(hook: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the type of a hook and its other keys, checked."""
    kind: Any = hook.get('type')
    check_type('log_config.hooks.type', kind)
    name = f'log_config.hooks.{kind}'
    if name not in SECTIONS:
        reason = REFUSED_LOGGERS.get(kind, f'known: TextLoggerHook, {", ".join(BACKENDS)}')
        raise ConfigError(f'log_config.hooks: {kind!r} has no counterpart: {reason}.')
    own = {key: value for key, value in hook.items() if key != 'type'}
    check_keys(name, own)
    return kind, own


def _log_interval(log_config: Mapping[str, Any], hooks: list[dict]) -> int:
    shared = log_config.get('interval') or 10
    intervals = {hook.get('interval') or shared for hook in hooks} or {shared}
    if len(intervals) > 1:
        raise ConfigError(
            f'log_config: the hooks log at different intervals ({sorted(intervals)}), but all share one average; write '
            'log_config.interval alone.'
        )
    return intervals.pop()


def lower_custom_hooks(hooks: Any, *, sync_buffer: bool) -> list[dict]:
    """Lower ``custom_hooks``; hooks that MMCV does not know keep their name and their keys.

    Args:
        hooks: The section, a list of dicts, or None.
        sync_buffer: Whether ``checkpoint_config.sync_buffer`` is set.

    Returns:
        A new list.

    Raises:
        ConfigError: If an entry is no dict with a type, or is a hook that a section of the config makes.
    """
    lowered = [dict(type='SyncBuffersHook')] if sync_buffer else []
    if hooks is not None and not isinstance(hooks, list | tuple):
        raise ConfigError(f'custom_hooks must be a list of dicts, got {type(hooks).__name__}: put brackets around it.')
    for index, hook in enumerate(hooks or []):
        if not isinstance(hook, Mapping) or 'type' not in hook:
            raise ConfigError(f'custom_hooks.{index} must be a dict with a type, got {hook!r}.')
        check_type(f'custom_hooks.{index}.type', hook['type'])
        kind = hook['type']
        if kind in REFUSED_HOOKS:
            raise ConfigError(f'custom_hooks.{index}: {kind} cannot be a custom hook here: {REFUSED_HOOKS[kind]}.')
        if f'custom_hooks.{kind}' in SECTIONS:
            lowered.append(_ema(f'custom_hooks.{index}.{kind}', hook))
        elif kind not in BUILT_IN_HOOKS:
            lowered.append(copy.deepcopy(dict(hook)))
    return lowered


def _ema(section: str, hook: Mapping[str, Any]) -> dict[str, Any]:
    """Return the averaged model that updates as MMCV's or MMDetection's hook does.

    MMCV's averages parameters only and counts its interval from iteration 0, MMDetection's average buffers too unless
    told not to and count it from iteration 1.
    """
    if 'ema_type' in hook:
        return copy.deepcopy(dict(hook))  # MMEngine's own wording
    kind = hook['type']
    own = {key: value for key, value in hook.items() if key != 'type'}
    table = SECTIONS[f'custom_hooks.{kind}']
    check_keys(section, own, table)
    ema_type, warm_up = ('ExpWarmupEMA', 2000) if kind == 'ExpMomentumEMAHook' else ('LinearWarmupEMA', 100)
    lowered: dict[str, Any] = dict(type='EMAHook', momentum=0.0002, interval=1, ema_type=ema_type, warm_up=warm_up)
    lowered |= passed_on(table.keys, own, 'custom_hooks')
    lowered['update_buffers'] = kind != 'EMAHook' and not own.get('skip_buffers')
    lowered['first_update'] = 0 if kind == 'EMAHook' else lowered['interval'] - 1
    return lowered
