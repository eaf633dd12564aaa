"""`checkpoint_config`, `log_config`, `custom_hooks` -> default hooks, custom hooks, log processor, visualizer."""

import copy
from collections.abc import Mapping
from typing import Any

from mmopt.config.evaluation import best_rule
from mmopt.config.schedule import RunLength
from mmopt.config.schema import ConfigError, check_keys, check_value

__all__ = ['lower_checkpoint', 'lower_custom_hooks', 'lower_logging']

_CHECKPOINT_KEYS = (
    'interval',
    'save_optimizer',
    'out_dir',
    'max_keep_ckpts',
    'save_last',
    'filename_tmpl',
    'background',
)
_TEXT_KEYS = ('interval_exp_name', 'ignore_last', 'out_dir', 'out_suffix', 'keep_local')
_COMMON_LOG_KEYS = ('type', 'interval', 'by_epoch', 'ignore_last', 'reset_flag')
_BACKENDS: dict[str, tuple[str, dict[str, str]]] = {
    # MMCV hook -> (MMEngine backend, {MMCV key: MMEngine key})
    'TensorboardLoggerHook': ('TensorboardVisBackend', {'log_dir': 'save_dir'}),
    'WandbLoggerHook': (
        'WandbVisBackend',
        {'init_kwargs': 'init_kwargs', 'define_metric_cfg': 'define_metric_cfg', 'commit': 'commit'},
    ),
    'MlflowLoggerHook': ('MLflowVisBackend', {'exp_name': 'exp_name', 'tags': 'tags', 'params': 'params'}),
    'NeptuneLoggerHook': ('NeptuneVisBackend', {'init_kwargs': 'init_kwargs'}),
    'ClearMLLoggerHook': ('ClearMLVisBackend', {'init_kwargs': 'init_kwargs'}),
    'DvcliveLoggerHook': ('DVCLiveVisBackend', {'save_dir': 'save_dir'}),
}
# What these keys of the logger hooks do (upload the model, log file, step numbers) the backends decide by themselves.
_DROPPED_LOG_KEYS = ('log_model', 'with_step', 'log_artifact', 'out_suffix')
_LOG_REMEDIES = {
    'PaviLoggerHook': 'Pavi is an internal service; write TensorboardLoggerHook',
    'MMDetWandbHook': 'it uploads checkpoints and pictures with code of its library; write WandbLoggerHook for curves',
    'MMSegWandbHook': 'it uploads checkpoints and pictures with code of its library; write WandbLoggerHook for curves',
    'SegmindLoggerHook': 'Segmind has no MMEngine backend; write MlflowLoggerHook',
}
# What MMCV needed as hooks and the runner here does itself.
_BUILT_IN_HOOKS = ('DistSamplerSeedHook', 'IterTimerHook', 'TextLoggerHook')
_REFUSED_HOOKS = {
    'PreciseBNHook': 'it belongs to mmaction 0.x; drop it',
    'OptimizerHook': 'write optimizer_config=dict(...)',
    'Fp16OptimizerHook': 'write fp16=dict(loss_scale=512.)',
    'GradientCumulativeOptimizerHook': 'write runner=dict(accumulative_counts=...)',
    'GradientCumulativeFp16OptimizerHook': 'write runner=dict(accumulative_counts=...) and fp16=dict(...)',
    'EvalHook': 'write evaluation=dict(...)',
    'DistEvalHook': 'write evaluation=dict(...)',
}


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
    if given.get('type', 'CheckpointHook') != 'CheckpointHook':
        raise ConfigError(f"checkpoint_config.type={given['type']!r} is not known; write 'CheckpointHook' or drop it.")
    if given.get('file_client_args'):
        raise ConfigError('checkpoint_config.file_client_args: checkpoints go to a local disk only; drop the key.')
    interval = given.get('interval', -1)
    if not isinstance(interval, int) or isinstance(interval, bool):
        raise ConfigError(f'checkpoint_config.interval must be a whole number, got {interval!r}.')
    by_epoch = given.get('by_epoch', not run.iter_based)
    if by_epoch and run.iter_based:
        raise ConfigError(
            'checkpoint_config.by_epoch=True with IterBasedRunner: MMCV never ends an epoch there and would save '
            'nothing; write checkpoint_config=dict(by_epoch=False, interval=<iterations>).'
        )
    save_best = evaluation.get('save_best')
    lowered = {key: copy.deepcopy(given[key]) for key in _CHECKPOINT_KEYS if key in given}
    defaults = dict(interval=-1, max_keep_ckpts=-1, save_last=True)
    best = dict(save_best=save_best, rule=best_rule(evaluation))
    return dict(type='CheckpointHook', by_epoch=by_epoch, **(defaults | lowered), **best)


def lower_logging(log_config: Mapping[str, Any], run: RunLength) -> dict[str, dict]:
    """Lower ``log_config``.

    Returns:
        ``logger`` (a default hook), ``log_processor`` and ``visualizer``.

    Raises:
        ConfigError: If a hook or a key has no counterpart, or the hooks disagree about the interval.
    """
    check_keys('log_config', log_config)
    hooks = [dict(hook) for hook in log_config.get('hooks') or []]
    interval = _log_interval(log_config, hooks)
    logger = dict(type='LoggerHook', interval=interval, log_metric_by_epoch=not run.iter_based)
    by_epoch = not run.iter_based
    backends = [dict(type='LocalVisBackend')]
    for hook in hooks:
        kind = hook.get('type')
        check_value('log_config.hooks.type', 'type', kind)
        if kind == 'TextLoggerHook':
            check_keys('log_config.hooks.TextLoggerHook', hook, (*_COMMON_LOG_KEYS, *_TEXT_KEYS, 'file_client_args'))
            logger |= {key: hook[key] for key in _TEXT_KEYS if hook.get(key) is not None}
            if not hook.get('by_epoch', True) and not run.iter_based:
                by_epoch = logger['by_epoch'] = False
            continue
        if kind not in _BACKENDS:
            reason = _LOG_REMEDIES.get(kind, f'known: TextLoggerHook, {", ".join(_BACKENDS)}')
            raise ConfigError(f'log_config.hooks: {kind!r} has no counterpart: {reason}.')
        backend, names = _BACKENDS[kind]
        check_keys(f'log_config.hooks.{kind}', hook, (*_COMMON_LOG_KEYS, *names, *_DROPPED_LOG_KEYS))
        backends.append(
            dict(type=backend, **{new: copy.deepcopy(hook[old]) for old, new in names.items() if hook.get(old)})
        )
    return dict(
        logger=logger,
        log_processor=dict(type='LogProcessor', window_size=interval, by_epoch=by_epoch),
        visualizer=dict(type='Visualizer', vis_backends=backends, name='visualizer'),
    )


def _log_interval(log_config: Mapping[str, Any], hooks: list[dict]) -> int:
    shared = log_config.get('interval', 10)
    for interval in (shared, *(hook.get('interval', shared) for hook in hooks)):
        if not isinstance(interval, int) or isinstance(interval, bool) or interval < 1:
            raise ConfigError(f'log_config.interval must be a positive integer, got {interval!r}.')
    intervals = {hook.get('interval', shared) for hook in hooks} or {shared}
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
        check_value(f'custom_hooks.{index}.type', 'type', hook['type'])
        kind = hook['type']
        if kind in _REFUSED_HOOKS:
            raise ConfigError(f'custom_hooks.{index}: {kind} cannot be a custom hook here: {_REFUSED_HOOKS[kind]}.')
        if kind in _EMA_HOOKS:
            lowered.append(_ema(f'custom_hooks.{index}.{kind}', hook))
        elif kind not in _BUILT_IN_HOOKS:
            lowered.append(copy.deepcopy(dict(hook)))
    return lowered


# MMCV or MMDetection hook -> the averaged model that updates as it does. MMCV's averages parameters only and counts its
# interval from iteration 0, MMDetection's average buffers too unless told not to and count it from iteration 1.
_EMA_HOOKS: dict[str, tuple[str, ...]] = {
    'EMAHook': ('momentum', 'interval', 'warm_up'),
    'LinearMomentumEMAHook': ('momentum', 'interval', 'warm_up', 'skip_buffers'),
    'ExpMomentumEMAHook': ('momentum', 'interval', 'total_iter', 'skip_buffers'),
}


def _ema(section: str, hook: Mapping[str, Any]) -> dict[str, Any]:
    kind = hook['type']
    if 'ema_type' in hook:
        return copy.deepcopy(dict(hook))  # MMEngine's own wording
    check_keys(section, hook, ('type', 'priority', 'resume_from', *_EMA_HOOKS[kind]))
    if hook.get('resume_from'):
        raise ConfigError(f'{section}.resume_from: write resume_from={hook["resume_from"]!r} at the top level instead.')
    lowered = dict(type='EMAHook', momentum=hook.get('momentum', 0.0002), interval=hook.get('interval', 1))
    if kind == 'ExpMomentumEMAHook':
        lowered |= dict(ema_type='ExpWarmupEMA', warm_up=hook.get('total_iter', 2000))
    else:
        lowered |= dict(ema_type='LinearWarmupEMA', warm_up=hook.get('warm_up', 100))
    if kind == 'EMAHook':
        lowered |= dict(update_buffers=False, first_update=0)
    else:
        lowered |= dict(update_buffers=not hook.get('skip_buffers', False), first_update=lowered['interval'] - 1)
    return lowered | {key: hook[key] for key in ('priority',) if key in hook}
