"""Count the bytes of tensors that a piece of code leaves alive, and their peak, on any device and exactly."""

import weakref
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

__all__ = ['LiveBytes']


class LiveBytes(TorchDispatchMode):
    """Follow every storage that operators make while the mode is on, from its making to its end.

    What existed before (weights, the batch) is not counted, nor is what kernels allocate for themselves. Tensors that
    backward passes keep are counted wherever they are kept: by autograd, by a checkpoint, by a closure.
    """

    def __init__(self) -> None:
        super().__init__()
        self.current = 0
        """Bytes alive now."""
        self.peak = 0
        """Most bytes alive at once."""
        self._alive: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Sequence[type], args: tuple = (), kwargs: dict | None = None) -> Any:
        inputs = {value.untyped_storage()._cdata for value in tree_iter((args, kwargs)) if isinstance(value, Tensor)}
        result = func(*args, **(kwargs or {}))
        for value in tree_iter(result):
            if isinstance(value, Tensor):
                self._note(value, inputs)
        return result

    def _note(self, tensor: Tensor, inputs: set[int]) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in inputs or key in self._alive:  # a view, or changed in place
            return
        self._alive[key] = storage.nbytes()
        self.current += storage.nbytes()
        self.peak = max(self.peak, self.current)
        weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.current -= self._alive.pop(key, 0)
