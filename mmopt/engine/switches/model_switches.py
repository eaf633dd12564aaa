"""The switches that change a model, in the order in which they are applied, and the one call that applies them.

A switch is one file with a pure function ``(model, value) -> Effect``; a new one is added to :data:`MODEL_SWITCHES`
and, with the kind of its value, to the table in :mod:`mmopt.config.keys`. Needs no runner: an estimate of memory
applies the same.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from mmopt.config import check_optimize
from mmopt.engine.switches.channels_last import channels_last
from mmopt.engine.switches.checkpointing import checkpointing
from mmopt.engine.switches.compile import compile_regions
from mmopt.engine.switches.effect import Effect
from mmopt.engine.switches.inplace import inplace
from mmopt.engine.switches.offload import offload

__all__ = ['MODEL_SWITCHES', 'apply_to_model', 'report']

MODEL_SWITCHES: dict[str, Callable[[nn.Module, Any], Effect]] = {
    'channels_last': channels_last,
    'inplace': inplace,
    'checkpointing': checkpointing,
    'offload': offload,  # behind checkpointing: what it still keeps is what there is to offload
    'compile': compile_regions,  # last: it compiles what the others made
}
"""Key of the `optimize` section -> function; applied from first to last, before DDP."""


def apply_to_model(model: nn.Module, optimize: Mapping[str, Any] | None) -> dict[str, Effect]:
    """Apply the switches of a config to a model, in place.

    Args:
        model: The model, on its device and not yet in a distributed wrapper.
        optimize: The section of the config; keys that do not concern the model are passed over.

    Returns:
        What each switch did, by key.

    Raises:
        ConfigError: If the section has an unknown key or a value of the wrong kind.
    """
    check_optimize(optimize)
    optimize = optimize or {}
    return {
        name: switch(model, optimize[name]) for name, switch in MODEL_SWITCHES.items() if optimize.get(name) is not None
    }


def report(effects: Mapping[str, Effect], logger: logging.Logger) -> None:
    """Write a line per switch; one that had no effect is a warning."""
    for name, effect in effects.items():
        if effect.is_effective:
            logger.info(f'optimize.{name}: {effect.text}')
        else:
            logger.warning(f'optimize.{name} had no effect: {effect.text}')
