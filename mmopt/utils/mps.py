"""What Apple's GPUs (device type ``mps``) lack beside CUDA's: float64, and copies to the host that need no waiting for.

None of this has been run on such a device.
"""

import torch
from torch import Tensor

__all__ = ['copies_in_order', 'empty_device_cache', 'to_float64']


def to_float64(tensor: Tensor) -> Tensor:
    """Return a tensor in float64, which counts exactly to 2^53: on its device, or on the CPU where that has none."""
    return (tensor.cpu() if tensor.device.type == 'mps' else tensor).double()


def copies_in_order(device: torch.device) -> bool:
    """Tell whether copies to pinned host memory keep the order of the device's stream, so nobody need wait for them.

    On MPS a copy without waiting leaves the host's memory as it was for a while, for all who read it.
    """
    return device.type == 'cuda'


def empty_device_cache() -> None:
    """Give the driver back what the allocator of a GPU keeps for later; do nothing without a GPU."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()
