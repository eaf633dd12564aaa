"""`optimize.optimizer_8bit`: keep the optimizer's state in 8 bits, a quarter of fp32's.

Dettmers et al., "8-bit Optimizers via Block-wise Quantization", ICLR 2022, https://arxiv.org/abs/2110.02861. The
kernels are those of bitsandbytes, which is not a dependency: ``pip install mmopt[gpu]``.
"""

import copy
from collections.abc import Mapping
from typing import Any

from mmopt.engine.switches.effect import Effect
from mmopt.registry import OPTIMIZERS
from mmopt.utils.errors import UserError

__all__ = ['eight_bit']

_NAMES = {
    'Adam': 'Adam8bit',
    'AdamW': 'AdamW8bit',
    'SGD': 'SGD8bit',
    'RMSprop': 'RMSprop8bit',
    'Adagrad': 'Adagrad8bit',
}
_UNKNOWN_THERE = ('fused', 'foreach', 'capturable', 'differentiable', 'maximize')


def eight_bit(optim_wrapper: Mapping[str, Any], value: bool) -> tuple[dict[str, Any], Effect]:
    """Replace an optimizer by the 8-bit one of bitsandbytes.

    Args:
        optim_wrapper: The section of a lowered config; is not changed.
        value: Whether to.

    Returns:
        The section to build, and what was done.

    Raises:
        UserError: If bitsandbytes is not installed.
    """
    wrapper = copy.deepcopy(dict(optim_wrapper))
    if not value:
        return wrapper, Effect('off')
    optimizer: Any = wrapper.get('optimizer')
    kind = optimizer.get('type') if isinstance(optimizer, Mapping) else None
    if kind not in _NAMES:
        return wrapper, Effect(f'there is no 8-bit {kind}; known: {", ".join(_NAMES)}', is_effective=False)
    name = _NAMES[kind]
    if OPTIMIZERS.get(name) is None:
        raise UserError(
            f'optimize.optimizer_8bit needs bitsandbytes, which is not installed or has no {name}: '
            "pip install 'mmopt[gpu]', or drop the key."
        )
    wrapper['optimizer'] = {key: item for key, item in optimizer.items() if key not in _UNKNOWN_THERE} | dict(type=name)
    return wrapper, Effect(f'{kind} -> {name}')
