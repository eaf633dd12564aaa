"""Copies of many small tensors: from the host to a GPU without a wait for the device, and on a device at once."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from mmopt.utils.memory import SIMULATED_DEVICE, page_locked

__all__ = ['copy_all', 'host_buffer', 'send']

_ALIGNMENT = 16
"""Bytes: a view of any type must begin at a multiple of its size."""


def host_buffer(num_bytes: int, device: torch.device) -> Tensor:
    """Return uninitialized memory of the host from which a device can copy.

    A GPU copies beside its kernels from page-locked memory only: from other memory the driver may wait for the stream.

    Args:
        num_bytes: Its size.
        device: Where it will be copied to.

    Returns:
        uint8 of that length.
    """
    with page_locked(num_bytes, 'Close other programs, or give this one more memory.'):
        return torch.empty(num_bytes, dtype=torch.uint8, pin_memory=device.type == 'cuda')


def send(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Copy tensors of the host to a device, to a GPU as one packed copy that nothing waits for.

    Args:
        tensors: Of any types and shapes, in host memory. One that lies on a device already is moved by itself.
        device: Where to.

    Returns:
        The tensors there, views of one block of memory; on the host itself, what was given.
    """
    is_packed = device.type in ('cuda', SIMULATED_DEVICE) and all(tensor.device.type == 'cpu' for tensor in tensors)
    if not is_packed:
        return [tensor.to(device, non_blocking=True) for tensor in tensors]
    places, total = [], 0
    for tensor in tensors:
        stop = total + tensor.numel() * tensor.element_size()
        places.append((total, stop))
        total = -(-stop // _ALIGNMENT) * _ALIGNMENT
    packed = host_buffer(total, device)
    for tensor, copy in zip(tensors, _views(packed, places, tensors), strict=True):
        copy.copy_(tensor)
    return _views(packed.to(device, non_blocking=True), places, tensors)


def _views(packed: Tensor, places: Sequence[tuple[int, int]], like: Sequence[Tensor]) -> list[Tensor]:
    return [
        packed[start:stop].view(tensor.dtype).view(tensor.shape)
        for (start, stop), tensor in zip(places, like, strict=True)
    ]


@torch.no_grad()
def copy_all(targets: Iterable[Tensor], sources: Iterable[Tensor]) -> None:
    """Copy tensors over others of their shapes, with a few kernels for all of them.

    Args:
        targets: Are overwritten.
        sources: One for each.
    """
    # By type and place: among floats BatchNorm's counters, of int64, would get every tensor a kernel of its own.
    alike: dict[tuple, list[tuple[Tensor, Tensor]]] = defaultdict(list)
    for target, source in zip(targets, sources, strict=True):
        alike[target.dtype, target.device, source.dtype, source.device].append((target, source))
    for pairs in alike.values():
        torch._foreach_copy_([target for target, _ in pairs], [source for _, source in pairs])
