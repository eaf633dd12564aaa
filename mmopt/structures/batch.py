"""Collated batches: how many samples they hold, how they are cut into micro-batches, how they move to a device.

A batch is a dict, or a list or tuple of what a model takes one after the other (torch's default collation of pairs);
inside it any nesting of dicts, lists and tuples. Tensors carry the sample axis first; a list inside has one entry per
sample (``data_samples``, or tensors of unequal shape).
"""

from collections.abc import Collection, Iterator
from typing import Any

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor
from torch.utils.data import DataLoader

from mmopt.structures.bad_samples import ReportedBatch

__all__ = ['batch_size', 'move_to', 'samples_per_batch', 'split_batch']


def batch_size(batch: Any) -> int:
    """Count the samples of a collated batch.

    Args:
        batch: A collated batch; see the module's docstring.

    Returns:
        The length of the sample axis, which all parts share.

    Raises:
        ValueError: If the batch holds neither a tensor nor a list, or its parts disagree about the number.
    """
    sizes = {size for part in _positional(batch) for size in _sizes(part)}
    if len(sizes) != 1:
        raise ValueError(
            f'The batch has no single sample count: its tensors and lists give {sorted(sizes)}. '
            'Every tensor needs the sample axis first, every list one entry per sample.'
        )
    return sizes.pop()


def samples_per_batch(loader: DataLoader) -> int:
    """Return the batch size of a loader; one with a batch sampler of its own does not know it itself."""
    return loader.batch_size or getattr(loader.batch_sampler, 'batch_size', None) or 1


def _positional(batch: Any) -> list | tuple:
    return batch if isinstance(batch, list | tuple) else (batch,)


def _sizes(part: Any) -> Iterator[int]:
    if isinstance(part, Tensor):
        if part.dim():
            yield len(part)
    elif isinstance(part, dict):
        for value in part.values():
            yield from _sizes(value)
    elif isinstance(part, list | tuple):
        yield len(part)


def split_batch(batch: Any, size: int) -> list[Any]:
    """Cut a collated batch into micro-batches of at most ``size`` samples, in order, as views.

    Args:
        batch: A collated batch; see the module's docstring.
        size: Samples per part, at least 1; the last part takes what is left.

    Returns:
        The parts; the batch itself when ``size`` covers it.

    Raises:
        ValueError: If ``size`` is below 1 or the batch has no single sample count.
    """
    if size < 1:
        raise ValueError(f'split_batch: size must be at least 1, got {size}.')
    total = batch_size(batch)
    if size >= total:
        return [batch]
    pieces = [(start, min(start + size, total)) for start in range(0, total, size)]
    if isinstance(batch, list | tuple):
        return [[_slice(part, *piece) for part in batch] for piece in pieces]
    return [_slice(batch, *piece) for piece in pieces]


def _slice(part: Any, start: int, stop: int) -> Any:
    if isinstance(part, Tensor):
        return part[start:stop] if part.dim() else part
    if isinstance(part, dict):
        return {key: _slice(value, start, stop) for key, value in part.items()}
    if isinstance(part, list | tuple):
        return part[start:stop]
    return part


def move_to(batch: Any, device: torch.device, *, non_blocking: bool = True, host_fields: Collection[str] = ()) -> Any:
    """Copy every tensor of a batch to a device; what is there already is passed through.

    Args:
        batch: Any nesting of tensors, samples, dicts, lists and tuples.
        device: Where to.
        non_blocking: Copy without waiting, where the batch lies in pinned memory.
        host_fields: Fields of samples that stay where they are.

    Returns:
        A new batch; samples are copies, too.
    """

    def move(value: Any) -> Any:
        if isinstance(value, Tensor):
            # Asking takes a fifth of the time of `to`, which a CPU would otherwise spend on every tensor.
            return value if value.device == device else value.to(device, non_blocking=non_blocking)
        if isinstance(value, dict):
            return {key: move(item) for key, item in value.items()}
        if isinstance(value, BaseDataElement):
            if not host_fields:
                return value.to(device, non_blocking=non_blocking)
            sample = value.new()
            for name, item in sample.items():
                if name not in host_fields:
                    sample.set_field(move(item), name)
            return sample
        if isinstance(value, (list, tuple)):
            moved = [move(item) for item in value]
            if type(value) is list:
                return moved
            # A named tuple takes them singly.
            return type(value)(*moved) if hasattr(value, '_fields') else type(value)(moved)
        if isinstance(value, ReportedBatch):
            return ReportedBatch(move(value.batch), value.reports)
        return value

    return move(batch)
