"""Samples to batches by their containers, and batches to the plain ones that our loop takes.

mmcv 1.x collates for all GPUs of one process at once and unwraps on the device. Here a process has one device, so both
are done in the worker: what leaves it are dicts of tensors and lists.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data.dataloader import default_collate

from mmopt.mmcv1.standins.containers import DataContainer

__all__ = ['HostList', 'collate', 'mmcv1_collate', 'scatter', 'scatter_kwargs', 'to_device', 'unwrap_containers']


class HostList(list):
    """Values that stay in host memory: those of a container that says ``cpu_only``."""


def collate(batch: Sequence, samples_per_gpu: int = 1) -> Any:
    """Collate samples by their containers.

    Args:
        batch: The samples.
        samples_per_gpu: Samples of each group: a container then holds a list with one entry per group.

    Returns:
        What one sample is, with containers of groups; other things are collated as torch does.

    Raises:
        TypeError: If it is no sequence.
    """
    if not isinstance(batch, Sequence):
        raise TypeError(f'{type(batch)} is not supported.')
    first = batch[0]
    if isinstance(first, DataContainer):
        groups = [batch[start : start + samples_per_gpu] for start in range(0, len(batch), samples_per_gpu)]
        if first.cpu_only:
            parts: list[Any] = [[sample.data for sample in group] for group in groups]
            return DataContainer(parts, first.stack, first.padding_value, cpu_only=True)
        if first.stack:
            return DataContainer([_stack(group) for group in groups], first.stack, first.padding_value)
        return DataContainer([[sample.data for sample in group] for group in groups], first.stack, first.padding_value)
    if isinstance(first, Mapping):
        return {key: collate([sample[key] for sample in batch], samples_per_gpu) for key in first}
    if isinstance(first, Sequence) and not isinstance(first, str):
        return [collate(samples, samples_per_gpu) for samples in zip(*batch, strict=False)]
    return default_collate(list(batch))


def _stack(group: Sequence[DataContainer]) -> Tensor:
    """Pad the tensors of a group on the right and at the bottom to one shape, and stack them."""
    first = group[0]
    if not isinstance(first.data, Tensor):
        raise AssertionError(f'a container with stack=True must hold a tensor, got {first.datatype}')
    if first.pad_dims is None:
        return default_collate([sample.data for sample in group])
    num = first.pad_dims
    if first.dim() <= num:
        raise AssertionError(f'a tensor of {first.dim()} axes cannot be padded on its last {num} beside a first one')
    largest = [max(sample.size(-axis) for sample in group) for axis in range(1, num + 1)]
    padded = []
    for sample in group:
        if sample.data.shape[:-num] != first.data.shape[:-num]:
            raise AssertionError(f'shapes differ before the padded axes: {sample.size()} and {first.size()}')
        # F.pad begins with the last axis.
        pads = [value for axis, most in enumerate(largest, 1) for value in (0, most - sample.size(-axis))]
        padded.append(F.pad(sample.data, pads, value=sample.padding_value) if any(pads) else sample.data)
    return default_collate(padded)


def unwrap_containers(part: Any) -> Any:
    """Take the first group out of every container.

    Args:
        part: What :func:`collate` returned.

    Returns:
        Dicts and lists of tensors and other values, without containers.
    """
    if isinstance(part, DataContainer):
        return HostList(part.data[0]) if part.cpu_only and isinstance(part.data[0], list) else part.data[0]
    if isinstance(part, Mapping):
        return {key: unwrap_containers(value) for key, value in part.items()}
    if isinstance(part, list | tuple):
        return [unwrap_containers(value) for value in part]
    return part


def mmcv1_collate(batch: Sequence) -> Any:
    """Collate a batch for one device; in a worker.

    Args:
        batch: Samples of a data set of mmcv 1.x.

    Returns:
        A plain batch: no containers.
    """
    return unwrap_containers(collate(batch, len(batch)))


def to_device(part: Any, device: torch.device) -> Any:
    """Move a plain batch; what its containers kept on the CPU stays.

    Args:
        part: Any nesting of tensors, dicts, lists and tuples.
        device: Where to.

    Returns:
        The same nesting.
    """
    if isinstance(part, Tensor):
        return part if part.device == device else part.to(device, non_blocking=True)
    if isinstance(part, HostList):
        return part
    if isinstance(part, Mapping):
        return {key: to_device(value, device) for key, value in part.items()}
    if isinstance(part, list):
        return [to_device(value, device) for value in part]
    if isinstance(part, tuple):
        moved = [to_device(value, device) for value in part]
        return type(part)(*moved) if hasattr(part, '_fields') else tuple(moved)
    return part


def _device(target: Any) -> torch.device:
    if isinstance(target, int):
        return torch.device('cpu') if target < 0 else torch.device('cuda', target)
    return torch.device(target)


def scatter(inputs: Any, target_gpus: Sequence, dim: int = 0) -> list:
    """Unwrap a batch for one device.

    Args:
        inputs: A batch, with or without containers.
        target_gpus: One device or its number; -1 is the CPU.
        dim: Must be 0.

    Returns:
        A list of one batch.

    Raises:
        ValueError: If there is more than one device: a process has one here.
    """
    if len(target_gpus) != 1 or dim != 0:
        raise ValueError(
            f'scatter to {list(target_gpus)} along axis {dim}: one process drives one device here; start one process '
            'per GPU (torchrun).'
        )
    return [to_device(unwrap_containers(inputs), _device(target_gpus[0]))]


def scatter_kwargs(inputs: tuple, kwargs: dict, target_gpus: Sequence, dim: int = 0) -> tuple[list, list]:
    """Unwrap positional and named arguments for one device; see :func:`scatter`."""
    return ([tuple(scatter(list(inputs), target_gpus, dim)[0])], scatter(kwargs, target_gpus, dim))
