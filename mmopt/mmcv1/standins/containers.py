"""``DataContainer``: a value of a sample and how it is collated."""

import copy
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

__all__ = ['DataContainer', 'assert_tensor_type']


def assert_tensor_type(func: Callable) -> Callable:
    """Let a method of a container refuse to run unless the data is a tensor."""

    @functools.wraps(func)
    def run(*args: Any, **kwargs: Any) -> Any:
        if not isinstance(args[0].data, torch.Tensor):
            raise AttributeError(
                f'{args[0].__class__.__name__} has no attribute {func.__name__} for type {args[0].datatype}'
            )
        return func(*args, **kwargs)

    return run


def _copied(value: Any, memo: dict) -> Any:
    if isinstance(value, torch.Tensor):
        return value.clone()
    if type(value) in (list, tuple):
        return type(value)(_copied(item, memo) for item in value)
    return copy.deepcopy(value, memo)


class DataContainer:
    """A value and how several of them make a batch.

    Args:
        data: The value.
        stack: Pad tensors to one shape and stack them.
        padding_value: What they are padded with.
        cpu_only: Keep as a list, off the GPU.
        pad_dims: How many of the last axes are padded; None: none.

    Raises:
        ValueError: If ``pad_dims`` is none of None, 1, 2, 3.
    """

    def __init__(
        self, data: Any, stack: bool = False, padding_value: int = 0, cpu_only: bool = False, pad_dims: int | None = 2
    ) -> None:
        if pad_dims not in (None, 1, 2, 3):
            raise AssertionError(f'pad_dims must be None, 1, 2 or 3, got {pad_dims!r}')
        self._data = data
        self._stack = stack
        self._padding_value = padding_value
        self._cpu_only = cpu_only
        self._pad_dims = pad_dims

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.data!r})'

    def __deepcopy__(self, memo: dict) -> 'DataContainer':
        # Tensors copy themselves by their storage, which the fake tensors of a memory estimate have not.
        copied = type(self).__new__(type(self))
        vars(copied).update(vars(self), _data=_copied(self._data, memo))
        return copied

    def __len__(self) -> int:
        return len(self._data)

    @property
    def data(self) -> Any:
        """The value."""
        return self._data

    @property
    def datatype(self) -> type | str:
        """Its type; of a tensor the name of it."""
        return self.data.type() if isinstance(self.data, torch.Tensor) else type(self.data)

    @property
    def cpu_only(self) -> bool:
        """Whether it stays off the GPU, in a list."""
        return self._cpu_only

    @property
    def stack(self) -> bool:
        """Whether tensors are padded and stacked."""
        return self._stack

    @property
    def padding_value(self) -> int:
        """What they are padded with."""
        return self._padding_value

    @property
    def pad_dims(self) -> int | None:
        """How many of the last axes are padded."""
        return self._pad_dims

    @assert_tensor_type
    def size(self, *args: Any, **kwargs: Any) -> Any:
        """Return the tensor's size."""
        return self.data.size(*args, **kwargs)

    @assert_tensor_type
    def dim(self) -> int:
        """Return the tensor's number of axes."""
        return self.data.dim()

    @assert_tensor_type
    def numpy(self) -> np.ndarray:
        """Return the tensor as an array."""
        return self.data.numpy()
