"""Where a module lives."""

from itertools import chain

import torch
from torch import nn

__all__ = ['device_of']


def device_of(module: nn.Module) -> torch.device:
    """Return where a module's weights are.

    Args:
        module: On one device.

    Returns:
        That of its first parameter, without parameters of its first buffer, without either the CPU.
    """
    tensors = chain(module.parameters(), module.buffers())
    return next((tensor.device for tensor in tensors), torch.device('cpu'))
