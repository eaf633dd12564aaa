"""Replace the precision of an optimizer wrapper."""

from collections.abc import Mapping
from typing import Any

__all__ = ['DTYPES', 'with_precision']

DTYPES = dict(fp16='float16', bf16='bfloat16')
"""What MMEngine calls a precision."""


def with_precision(optim_wrapper: Mapping[str, Any], precision: str) -> dict[str, Any]:
    """Return the section in another precision; fp16 asked for fp16 keeps its loss scale.

    Args:
        optim_wrapper: The section of a lowered config; is not changed.
        precision: ``fp32``, ``fp16`` or ``bf16``.

    Returns:
        A new section.
    """
    wrapper = dict(optim_wrapper)
    scale = wrapper.pop('loss_scale', 'dynamic') if wrapper.pop('dtype', 'float16') == 'float16' else 'dynamic'
    wrapper.pop('loss_scale', None)
    wrapper['type'] = 'OptimWrapper' if precision == 'fp32' else 'AmpOptimWrapper'
    if precision != 'fp32':
        wrapper['dtype'] = DTYPES[precision]
    if precision == 'fp16':
        wrapper['loss_scale'] = scale
    return wrapper
