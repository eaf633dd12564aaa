"""Learning rate and weight decay of every parameter, as MMCV 1.x's constructors assign them, and their grouping.

A rule maps a model to one :class:`ParamSetting` per parameter, in MMCV's order. :func:`merge_settings` then makes one
parameter group per distinct setting: MMCV has one group per parameter, which makes a fused AdamW 4 times slower.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

__all__ = ['ParamSetting', 'iter_default_settings', 'merge_settings', 'plain_settings']

_NORMS = (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm)
_DEFORMABLE = ('DeformConv2d', 'ModulatedDeformConv2d')


@dataclass(frozen=True)
class ParamSetting:
    """One parameter and what it deviates in.

    Attributes:
        name: Its name in the model.
        options: Keys of a parameter group (``lr``, ``weight_decay``); absent ones are the optimizer's.
    """

    name: str
    param: nn.Parameter
    options: dict[str, Any]


def plain_settings(model: nn.Module) -> list[ParamSetting]:
    """Return every parameter without deviations, each once, in the order of ``model.parameters()``."""
    return [ParamSetting(name, param, {}) for name, param in model.named_parameters()]


def iter_default_settings(
    model: nn.Module, paramwise_cfg: dict[str, Any], base_lr: float | None, base_weight_decay: float | None
) -> Iterator[ParamSetting]:
    """Yield the settings of MMCV's ``DefaultOptimizerConstructor``.

    A parameter that a custom key names takes that key's multipliers and no others; the longest key wins, the
    alphabetically first among equals. Otherwise: biases outside norms and deformable convolutions take
    ``bias_lr_mult``; weight decay is multiplied for norms, else for depth-wise convolutions, else for biases. MMEngine
    differs in the last order and leaves norm biases to ``bias_decay_mult`` when ``norm_decay_mult`` is absent.

    Args:
        paramwise_cfg: MMCV's keys.
        base_lr: The optimizer's learning rate.
        base_weight_decay: Its weight decay, None where it is not given.

    Yields:
        ParamSetting: One per parameter; a shared parameter comes once for each of its places unless
            ``bypass_duplicate``.
    """
    multipliers = {
        key: paramwise_cfg.get(key, 1.0)
        for key in ('bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'dwconv_decay_mult', 'dcn_offset_lr_mult')
    }
    custom_keys = paramwise_cfg.get('custom_keys', {})
    sorted_keys = sorted(sorted(custom_keys), key=len, reverse=True)
    seen: set[int] = set()
    for prefix, module, in_deformable in _walk(model, '', False):
        for name, param in module.named_parameters(recurse=False):
            # MMCV's own spelling, with a leading dot for parameters of the model itself.
            dotted = f'{prefix}.{name}'
            full_name = dotted.lstrip('.')
            if not param.requires_grad:
                yield ParamSetting(full_name, param, {})
                seen.add(id(param))
                continue
            if paramwise_cfg.get('bypass_duplicate', False) and id(param) in seen:
                continue
            seen.add(id(param))
            key = next((key for key in sorted_keys if key in dotted), None)
            if key is None:
                lr_mult, decay_mult = _multipliers(prefix, module, name, multipliers, in_deformable=in_deformable)
            else:
                lr_mult, decay_mult = (custom_keys[key].get(mult, 1.0) for mult in ('lr_mult', 'decay_mult'))
            options = {} if base_lr is None or lr_mult == 1.0 else dict(lr=base_lr * lr_mult)
            if base_weight_decay is not None and decay_mult != 1.0:
                options['weight_decay'] = base_weight_decay * decay_mult
            yield ParamSetting(full_name, param, options)


def _walk(module: nn.Module, prefix: str, in_deformable: bool) -> Iterator[tuple[str, nn.Module, bool]]:
    """Yield modules depth first. ``named_children`` skips a child that its parent has twice, as MMCV does."""
    yield prefix, module, in_deformable
    # By name: importing mmcv.ops fails without compiled operators.
    is_deformable = any(base.__name__ in _DEFORMABLE for base in type(module).__mro__)
    for name, child in module.named_children():
        yield from _walk(child, f'{prefix}.{name}' if prefix else name, is_deformable)


def _multipliers(
    prefix: str, module: nn.Module, name: str, multipliers: dict[str, float], *, in_deformable: bool
) -> tuple[float, float]:
    is_norm = isinstance(module, _NORMS)
    lr_mult = decay_mult = 1.0
    if name == 'bias' and not (is_norm or in_deformable):
        lr_mult = multipliers['bias_lr_mult']
    if 'conv_offset' in prefix and in_deformable and isinstance(module, nn.Conv2d):
        lr_mult = multipliers['dcn_offset_lr_mult']
    if is_norm:
        decay_mult = multipliers['norm_decay_mult']
    elif isinstance(module, nn.Conv2d) and module.in_channels == module.groups:
        decay_mult = multipliers['dwconv_decay_mult']
    elif name == 'bias' and not in_deformable:
        decay_mult = multipliers['bias_decay_mult']
    return lr_mult, decay_mult


def merge_settings(settings: list[ParamSetting]) -> list[dict[str, Any]]:
    """Make one parameter group per distinct setting.

    Args:
        settings: One per parameter, in the order of MMCV's checkpoints.

    Returns:
        Groups in the order in which their settings first occur. Each names its parameters (``param_names``) and gives
        their places in ``settings`` (``param_positions``): the indices under which an MMCV-1.x checkpoint, with a group
        per parameter, keeps their optimizer state. A parameter that occurs twice stays in its first group.
    """
    groups: dict[tuple, dict[str, Any]] = {}
    seen: set[int] = set()
    for position, setting in enumerate(settings):
        if id(setting.param) in seen:
            continue
        seen.add(id(setting.param))
        key = tuple(sorted(setting.options.items()))
        group = groups.setdefault(key, dict(params=[], param_names=[], param_positions=[], **setting.options))
        group['params'].append(setting.param)
        group['param_names'].append(setting.name)
        group['param_positions'].append(position)
    return list(groups.values())
