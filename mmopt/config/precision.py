"""Which precision an optimizer wrapper's section asks for, and how to ask for another."""

from collections.abc import Mapping
from typing import Any

from mmopt.utils.precision import ComputeDevice, choose_precision
from mmopt.utils.type_names import type_names

__all__ = ['AUTO', 'DTYPE_NAMES', 'allowed_precisions', 'precision_of', 'resolve_precision', 'with_precision']

AUTO = 'auto'
"""The precision that the device is asked for when the run starts."""
DTYPE_NAMES = dict(fp32='float32', fp16='float16', bf16='bfloat16')
"""What a config calls the ``dtype`` of a precision."""
_NAMES = {dtype: name for name, dtype in DTYPE_NAMES.items()} | {AUTO: AUTO}


def precision_of(optim_wrapper: Mapping[str, Any] | None) -> str:
    """Return the precision that a section asks for.

    Args:
        optim_wrapper: The section of a lowered or native config. ``type`` may be a name, with or without a scope, or a
            class; ``dtype`` a name or torch's own.

    Returns:
        ``fp32``, ``fp16``, ``bf16`` or ``auto``. What is no mixed precision is fp32.
    """
    section = optim_wrapper or {}
    if 'AmpOptimWrapper' not in type_names(section.get('type')):
        return 'fp32'
    dtype = str(section.get('dtype') or 'float16').removeprefix('torch.')
    return _NAMES.get(dtype, 'fp16')


def allowed_precisions(optim_wrapper: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return the half precisions of which ``auto`` may choose one."""
    return tuple((optim_wrapper or {}).get('allow') or ('bf16', 'fp16'))


def resolve_precision(optim_wrapper: Mapping[str, Any] | None, device: ComputeDevice) -> str:
    """Return what a section comes to on a device.

    Args:
        optim_wrapper: The section of a lowered or native config.
        device: What it would run on.

    Returns:
        One of :data:`mmopt.utils.precision.PRECISIONS`.
    """
    precision = precision_of(optim_wrapper)
    if precision != AUTO:
        return precision
    return choose_precision(device, allowed_precisions(optim_wrapper)).precision


def with_precision(optim_wrapper: Mapping[str, Any], precision: str) -> dict[str, Any]:
    """Return the section in another precision; what may be fp16 before and after keeps its loss scale.

    Args:
        optim_wrapper: The section of a lowered config; is not changed.
        precision: ``fp32``, ``fp16``, ``bf16`` or ``auto``.

    Returns:
        A new section.
    """
    wrapper = dict(optim_wrapper)
    before = precision_of(wrapper)
    # Where names are looked up in another scope first, ours carries its own.
    scope = 'mmopt.' if str(wrapper.get('type')).startswith('mmopt.') else ''
    scale = wrapper.pop('loss_scale', 'dynamic')
    for key in ('dtype', 'allow'):
        wrapper.pop(key, None)
    wrapper['type'] = scope + ('OptimWrapper' if precision == 'fp32' else 'AmpOptimWrapper')
    if precision != 'fp32':
        wrapper['dtype'] = AUTO if precision == AUTO else DTYPE_NAMES[precision]
    if precision in ('fp16', AUTO):
        wrapper['loss_scale'] = scale if before in ('fp16', AUTO) else 'dynamic'
    return wrapper
