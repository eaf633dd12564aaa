"""Averaged weights (EMA) in checkpoints of mmcv 1.x.

mmcv's and MMDetection's EMA hooks keep a buffer ``ema_<name with _ for .>`` per parameter in the model itself, and
exchange the two at the end of an epoch. Whether a checkpoint was written before or after that depends on the priority
of the hook. MMEngine's hook writes the average as ``state_dict`` and the raw weights as ``ema_state_dict``.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ['ema_for_resume', 'saved_swapped', 'split_ema']

_PRIORITY = re.compile(r"EMAHook'[^()]*?priority=(?:'(\w+)'|(\d+))")
_BEFORE_CHECKPOINT_HOOK = ('HIGHEST', 'VERY_HIGH', 'HIGH', 'ABOVE_NORMAL')


def split_ema(state_dict: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Take the EMA buffers out of a state dict.

    Args:
        state_dict: Weights and, under EMA, buffers.

    Returns:
        The weights, and the buffers under the names of their parameters.
    """
    owner = {'ema_' + name.replace('.', '_'): name for name in state_dict}
    buffers = {owner[key]: value for key, value in state_dict.items() if key in owner}
    return {key: value for key, value in state_dict.items() if key not in owner}, buffers


def saved_swapped(file_name: str, config: str) -> bool:
    """Tell whether an epoch-based run wrote this file after the hook exchanged weights and averages.

    Args:
        file_name: The best checkpoints are written by the evaluation, after the exchange.
        config: Text of the config; a hook with a priority above mmcv's checkpoint hook (50) exchanges before it.

    Returns:
        Whether the averages are where the weights were.
    """
    if file_name.startswith('best_'):
        return True
    match = _PRIORITY.search(config)
    if match is None:
        return False
    return match[1] in _BEFORE_CHECKPOINT_HOOK if match[1] else int(match[2]) < 50


def ema_for_resume(
    weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor], iters_done: int, *, swapped: bool
) -> dict:
    """Arrange weights and averages as MMEngine's hook expects them.

    Args:
        weights: The file's weights.
        buffers: The file's EMA buffers, under the names of their parameters.
        iters_done: Finished iterations: the averaged model counts its updates.
        swapped: Whether the weights are the averages.

    Returns:
        ``state_dict`` (averages) and ``ema_state_dict`` (raw weights).
    """
    other = {**weights, **buffers}
    average, raw = (weights, other) if swapped else (other, weights)
    ema = {f'module.{name}': value for name, value in raw.items()}
    return dict(state_dict=dict(average), ema_state_dict=ema | dict(steps=torch.tensor(iters_done)))
