"""Switches that hold for the whole process, and the allocator that it runs with."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from mmopt.engine.switches.effect import Effect
from mmopt.utils.precision import this_device

__all__ = ['PROCESS_SWITCHES', 'apply_to_process', 'malloc_effect', 'tf32']


def tf32(value: bool) -> Effect:
    """Let fp32 products and convolutions on tensor cores round their factors to TF32: 10 bits in the place of 23.

    Args:
        value: Whether they may. torch's own default lets convolutions and not products.

    Returns:
        What was switched.
    """
    torch.backends.cuda.matmul.allow_tf32 = value
    torch.backends.cudnn.allow_tf32 = value
    if not torch.cuda.is_available():
        return Effect('there is no GPU', is_effective=False)
    support = this_device('cuda').support('tf32')
    if value and not support.is_native:
        return Effect(support.reason, is_effective=False)
    return Effect('products and convolutions in fp32 may use TF32' if value else 'off')


PROCESS_SWITCHES: dict[str, Callable[[Any], Effect]] = dict(tf32=tf32)
"""Key of the `optimize` section -> function."""


def apply_to_process(optimize: Mapping[str, Any] | None) -> dict[str, Effect]:
    """Apply the switches of a config that hold for the process.

    Args:
        optimize: The section; keys that do not concern the process are passed over.

    Returns:
        What each switch did, by key.
    """
    optimize = optimize or {}
    return {name: switch(optimize[name]) for name, switch in PROCESS_SWITCHES.items() if optimize.get(name) is not None}


def malloc_effect(keeps_pages: bool) -> str:
    """Say how the allocator stands on a CPU.

    Args:
        keeps_pages: What :func:`mmopt.utils.malloc.keep_freed_pages` returned.

    Returns:
        One line for the log.
    """
    if keeps_pages:
        return 'malloc: glibc keeps freed pages until the process ends (a step on a CPU is 1.6 to 2.4 times faster)'
    return 'malloc: no glibc, so every step pays page faults: preload jemalloc or tcmalloc if there is one'
