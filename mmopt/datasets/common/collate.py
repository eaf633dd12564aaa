"""Collation in the worker: inputs become one tensor, samples stay a list."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmopt.registry import FUNCTIONS

__all__ = ['stack_collate']


@FUNCTIONS.register_module()
def stack_collate(samples: Sequence[dict]) -> dict:
    """Collate ``[{inputs, data_samples}, ...]``.

    Args:
        samples: One dict per sample. ``inputs`` is a tensor, or a dict of tensors (views, modalities).

    Returns:
        ``inputs`` stacked along a new first axis (tensor by tensor) where all shapes agree, else a list; every other
        key as a list.
    """
    return {key: _stack([sample[key] for sample in samples]) for key in samples[0]}


def _stack(values: list) -> Tensor | dict | list:
    first = values[0]
    if isinstance(first, dict):
        return {key: _stack([value[key] for value in values]) for key in first}
    if not isinstance(first, Tensor) or any(value.shape != first.shape for value in values):
        return values
    if torch.utils.data.get_worker_info() is None:
        return torch.stack(values)
    # Stack straight into shared memory: one copy in the worker, none in the queue.
    size = sum(value.numel() for value in values)
    storage = first._typed_storage()._new_shared(size, device=first.device)
    out = first.new(storage).resize_(len(values), *first.shape)
    return torch.stack(values, out=out)
