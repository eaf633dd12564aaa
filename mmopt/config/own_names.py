"""The names that lowering writes itself, with their scope where the config looks names up elsewhere first.

In a config with ``default_scope = 'mmseg'``, ``LoggerHook`` would be MMSegmentation's if it had one; the hook that
``log_config`` becomes is mmopt's whatever a library calls its own.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mmopt.config.keys import BACKENDS
from mmopt.config.optimizer import CONSTRUCTORS

__all__ = ['name_own_types']

_MMOPT = (
    'AmpOptimWrapper',
    'CheckpointHook',
    'ClosedFormLR',
    'ClosedFormMomentum',
    'DatasetEvaluateMetric',
    'EpochBasedRunner',
    'EpochBasedTrainLoop',
    'EvaluationSampler',
    'ExpWarmupEMA',
    'IterBasedRunner',
    'IterBasedTrainLoop',
    'IterTimerHook',
    'LinearWarmupEMA',
    'LogProcessor',
    'LoggerHook',
    'OptimWrapper',
    'ResumableSampler',
    'RuntimeInfoHook',
    'TestLoop',
    'ValLoop',
    'stack_collate',
    *CONSTRUCTORS.values(),
)
_MMENGINE = ('EMAHook', 'Evaluator', 'LocalVisBackend', 'ParamSchedulerHook', 'Visualizer', *BACKENDS.values())
_SCOPED = {name: f'mmopt.{name}' for name in _MMOPT} | {name: f'mmengine.{name}' for name in _MMENGINE}
_EMAS = ('ExpWarmupEMA', 'LinearWarmupEMA')


def name_own_types(lowered: Mapping[str, Any]) -> dict[str, Any]:
    """Put the scope before the names that lowering wrote; those of the user stay.

    Args:
        lowered: A lowered config; is not changed.

    Returns:
        The config; the very one where its scope is mmopt, so that names need none.
    """
    if lowered.get('default_scope') == 'mmopt':
        return dict(lowered)
    named = dict(lowered)
    for key in ('train_cfg', 'val_cfg', 'test_cfg', 'optim_wrapper', 'log_processor', 'visualizer'):
        if key in named:
            named[key] = _typed(named[key])
    if 'param_scheduler' in named:
        named['param_scheduler'] = [_typed(item) for item in named['param_scheduler']]
    if 'default_hooks' in named:
        named['default_hooks'] = {name: _typed(hook) for name, hook in named['default_hooks'].items()}
    if 'optim_wrapper' in named:
        named['optim_wrapper'] = _renamed(named['optim_wrapper'], 'constructor')
    if 'visualizer' in named:
        named['visualizer']['vis_backends'] = [_typed(item) for item in named['visualizer']['vis_backends']]
    if 'runner_type' in named:
        named = _renamed(named, 'runner_type')
    # Hooks and metrics of the user's go by their own names; these two kinds are ours.
    if 'custom_hooks' in named:
        named['custom_hooks'] = [
            _renamed(_typed(hook), 'ema_type') if hook.get('ema_type') in _EMAS else hook
            for hook in named['custom_hooks']
        ]
    for key in ('val_evaluator', 'test_evaluator'):
        if key in named:
            metrics: Sequence[Any] = named[key]['metrics']
            named[key] = _typed(named[key]) | dict(
                metrics=[_typed(item) if item.get('type') == 'DatasetEvaluateMetric' else item for item in metrics]
            )
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if key in named:
            loader = named[key]
            named[key] = loader | {part: _typed(loader[part]) for part in ('sampler', 'collate_fn') if part in loader}
    return named


def _typed(part: Any) -> Any:
    return _renamed(part, 'type') if isinstance(part, Mapping) else part


def _renamed(part: Mapping[str, Any], key: str) -> dict[str, Any]:
    name = part.get(key)
    return {**part, key: _SCOPED.get(name, name)} if isinstance(name, str) else dict(part)
