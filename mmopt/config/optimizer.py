"""`optimizer`, `optimizer_config`, `precision`, `fp16`, `bf16` and `runner.accumulative_counts` -> `optim_wrapper`."""

import copy
from collections.abc import Mapping
from typing import Any

from mmopt.config.keys import SECTIONS, passed_on
from mmopt.config.precision import AUTO, precision_of, with_precision
from mmopt.config.schema import ConfigError, check_keys

__all__ = ['CONSTRUCTORS', 'lower_optimizer']

CONSTRUCTORS = {
    'DefaultOptimizerConstructor': 'MMCV1OptimWrapperConstructor',
    'LearningRateDecayOptimizerConstructor': 'LearningRateDecayOptimWrapperConstructor',
    'LayerDecayOptimizerConstructor': 'LayerDecayOptimWrapperConstructor',
    'TSMOptimizerConstructor': 'TSMOptimWrapperConstructor',
}
"""MMCV-1.x constructor -> ours; a name that is not here is passed on as it is."""

_HOOKS = {
    # type of optimizer_config -> (fp16, accumulates)
    'OptimizerHook': (False, False),
    'Fp16OptimizerHook': (True, False),
    'GradientCumulativeOptimizerHook': (False, True),
    'GradientCumulativeFp16OptimizerHook': (True, True),
}


def lower_optimizer(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Lower everything that shapes an optimizer step.

    Args:
        cfg: The whole config.

    Returns:
        The ``optim_wrapper`` section.

    Raises:
        ConfigError: If a key is unknown or keys contradict each other.
    """
    optimizer = copy.deepcopy(dict(cfg['optimizer']))
    check_keys('optimizer', optimizer)
    if optimizer.get('type') is None:
        raise ConfigError(
            "optimizer.type is missing: write optimizer=dict(type='AdamW', lr=...); several optimizers in one dict are "
            'not part of the dialect, use a native optim_wrapper with an OptimWrapperConstructor of your own.'
        )
    constructor = optimizer.pop('constructor', None) or 'DefaultOptimizerConstructor'
    paramwise_cfg = optimizer.pop('paramwise_cfg', None)
    if constructor == 'DefaultOptimizerConstructor' and paramwise_cfg is not None:
        paramwise_cfg = _paramwise(paramwise_cfg, optimizer)
    hook = dict(cfg.get('optimizer_config') or {})
    check_keys('optimizer_config', hook)
    fp16_hook, accumulating_hook = _hook_kind(hook)
    clip_grad = hook.get('grad_clip')
    if clip_grad is not None:
        check_keys('optimizer_config.grad_clip', clip_grad)
        clip_grad = passed_on(SECTIONS['optimizer_config.grad_clip'].keys, clip_grad, 'optim_wrapper.clip_grad')
    precision = _precision(cfg, hook, fp16_hook=fp16_hook)
    wrapper = dict(
        type='AmpOptimWrapper' if precision else 'OptimWrapper',
        optimizer=optimizer,
        constructor=CONSTRUCTORS.get(constructor, constructor),
        paramwise_cfg=paramwise_cfg,
        clip_grad=clip_grad,
        accumulative_counts=_accumulative_counts(cfg, hook, accumulating=accumulating_hook),
        **precision,
    )
    if cfg.get('precision') is not None:
        allowed = precision_of(wrapper)
        wrapper = with_precision(wrapper, cfg['precision'])
        if cfg['precision'] == AUTO and allowed != 'fp32':
            wrapper['allow'] = [allowed]
    return wrapper


def _paramwise(paramwise_cfg: Mapping[str, Any], optimizer: Mapping[str, Any]) -> dict[str, Any]:
    section = 'optimizer.paramwise_cfg'
    check_keys(section, paramwise_cfg)
    lowered = passed_on(SECTIONS[section].keys, paramwise_cfg, 'optim_wrapper.paramwise_cfg')
    custom_keys = lowered.get('custom_keys', {})
    for name, value in custom_keys.items():
        try:
            check_keys(f'{section}.custom_keys', value)
        except ConfigError as error:
            raise ConfigError(f'{error} (in the entry {name!r})') from error
    decays = [key for key in lowered if key.endswith('decay_mult')]
    decays += [f'custom_keys[{name!r}].decay_mult' for name, value in custom_keys.items() if 'decay_mult' in value]
    if decays and optimizer.get('weight_decay') is None:
        raise ConfigError(
            f'optimizer.paramwise_cfg multiplies the weight decay ({decays[0]}), but optimizer.weight_decay is not '
            'set: write it out, also where the default is meant.'
        )
    return lowered


def _hook_kind(hook: Mapping[str, Any]) -> tuple[bool, bool]:
    name = hook.get('type') or 'OptimizerHook'
    if name not in _HOOKS:
        raise ConfigError(
            f'optimizer_config.type={name!r} is not known; known: {", ".join(_HOOKS)}. Clipping is optimizer_config='
            'dict(grad_clip=...), half precision fp16=dict(...) or bf16=dict(), accumulation '
            'runner=dict(accumulative_counts=...).'
        )
    fp16, accumulates = _HOOKS[name]
    if 'cumulative_iters' in hook and not accumulates:
        raise ConfigError(
            f'optimizer_config.cumulative_iters has no effect in {name}; write runner=dict(accumulative_counts='
            f"{hook['cumulative_iters']!r}) or type='GradientCumulativeOptimizerHook'."
        )
    if 'loss_scale' in hook and not fp16:
        raise ConfigError(
            f'optimizer_config.loss_scale has no effect in {name}; write fp16=dict(loss_scale={hook["loss_scale"]!r}).'
        )
    return fp16, accumulates


def _accumulative_counts(cfg: Mapping[str, Any], hook: Mapping[str, Any], *, accumulating: bool) -> int:
    counts = {}
    if (cfg.get('runner') or {}).get('accumulative_counts') is not None:
        counts['runner.accumulative_counts'] = cfg['runner']['accumulative_counts']
    if accumulating:
        counts['optimizer_config.cumulative_iters'] = hook.get('cumulative_iters') or 1
    if len(set(counts.values())) > 1:
        raise ConfigError(f'Two different accumulation counts: {counts}; keep runner.accumulative_counts.')
    return next(iter(counts.values()), 1)


def _precision(cfg: Mapping[str, Any], hook: Mapping[str, Any], *, fp16_hook: bool) -> dict[str, Any]:
    fp16, bf16 = cfg.get('fp16'), cfg.get('bf16')
    if bf16 is not None:
        if fp16 is not None or fp16_hook:
            raise ConfigError('Both fp16 and bf16 are set: keep one, or choose with --precision.')
        check_keys('bf16', bf16)
        return dict(dtype='bfloat16')
    if fp16 is None and not fp16_hook:
        return {}
    if fp16 is not None:
        check_keys('fp16', fp16)
    scales = [section['loss_scale'] for section in (fp16 or {}, hook) if 'loss_scale' in section]
    if len(scales) > 1 and scales[0] != scales[1]:
        raise ConfigError(f'fp16.loss_scale={scales[0]!r} and optimizer_config.loss_scale={scales[1]!r}: keep one.')
    return dict(dtype='float16', loss_scale=_loss_scale(scales[0] if scales else 512.0))


def _loss_scale(scale: Any) -> float | str | dict:
    if isinstance(scale, Mapping):
        check_keys('fp16.loss_scale', scale)
        return passed_on(SECTIONS['fp16.loss_scale'].keys, scale, 'optim_wrapper.loss_scale')
    if scale == 'dynamic' or isinstance(scale, float):
        return scale
    hint = f'; write {float(scale)!r} for a static scale' if isinstance(scale, int) else ''
    raise ConfigError(f"fp16.loss_scale must be a float, 'dynamic' or a dict, got {scale!r}{hint}.")
