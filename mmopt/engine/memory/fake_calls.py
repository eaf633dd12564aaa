"""Calls that torch refuses on tensors without values, and that run on a GPU: reading an array, the mean of a CTC loss.

Neither is an operator that a mode sees, so the two functions themselves are replaced while a step is traced.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from mmopt.engine.memory.values import KnownValues, known_value

__all__ = ['READ', 'answer_calls']

READ = 'an array read from activations is full of zeros, or of true; a size that depends on it may be larger'


@contextmanager
def answer_calls(values: KnownValues) -> Iterator[None]:
    """Answer ``tensor.numpy()``, and so ``np.asarray(tensor)``, and ``torch.ctc_loss`` of fake tensors.

    Args:
        values: What is known of them; notes an array that had to be made up.
    """

    def read(tensor: Tensor, *, force: bool = False) -> np.ndarray:
        if force:
            tensor = tensor.detach().cpu()
        # What fails in a run fails here too.
        if tensor.device.type != 'cpu':
            raise TypeError(f"can't convert {tensor.device} device type tensor to numpy. Use Tensor.cpu() first.")
        if tensor.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        value = known_value(tensor)
        if value is None:
            values.assumed[READ] += 1
        with torch._C._DisableTorchDispatch():
            if value is None:
                # A mask selects everything, as it does on the device.
                value = torch.full(tensor.shape, tensor.dtype is torch.bool, dtype=tensor.dtype)
            return value.numpy()

    compute_loss: Any = torch.ctc_loss

    def ctc_loss(log_probs: Tensor, targets: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        # torch takes lengths from the host, but not beside fake tensors, where it divides by them as they are.
        args, kwargs = _moved(args, log_probs.device), _moved(kwargs, log_probs.device)
        return compute_loss(log_probs, targets, *args, **kwargs)

    torch.ctc_loss = ctc_loss
    FakeTensor.numpy = read  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        torch.ctc_loss = compute_loss
        del FakeTensor.numpy


def _moved(arguments: Any, device: torch.device) -> Any:
    def move(value: Any) -> Any:
        return value.to(device) if isinstance(value, Tensor) else value

    if isinstance(arguments, dict):
        return {name: move(value) for name, value in arguments.items()}
    return tuple(move(value) for value in arguments)
