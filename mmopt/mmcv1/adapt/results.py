"""What a model of mmcv 1.x predicts, as one result per sample."""

import inspect
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ['arrays_of_halves', 'results_of', 'takes_rescale']


class _Float32Arrays(TorchFunctionMode):
    """Let bfloat16 tensors become float32 arrays: NumPy has no such type, and the code knows float16 alone."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func in (Tensor.numpy, Tensor.__array__) and args[0].dtype is torch.bfloat16:
            args = (args[0].float(), *args[1:])
        return func(*args, **(kwargs or {}))


def arrays_of_halves() -> AbstractContextManager:
    """Return the context in which code written for float16 may make arrays of what it predicts in bfloat16."""
    is_bf16 = any(
        torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) is torch.bfloat16
        for device in ('cpu', 'cuda')
    )
    return _Float32Arrays() if is_bf16 else nullcontext()


def takes_rescale(model_class: type) -> bool:
    """Tell whether a model is asked for its results in the size of the original image.

    Args:
        model_class: The repository's class.

    Returns:
        Whether its ``simple_test`` has the argument; where it has not, the repository's own test loop does not pass it.
    """
    simple_test = getattr(model_class, 'simple_test', None)
    return simple_test is not None and 'rescale' in inspect.signature(simple_test).parameters


def results_of(predicted: Any) -> list:
    """Make a list of a batch's results.

    Args:
        predicted: What ``forward(return_loss=False)`` returned: a list with one entry per sample, an array of them, or
            one object for the whole batch.

    Returns:
        The list, of one entry where the batch has one object.
    """
    return list(predicted) if isinstance(predicted, list | tuple | np.ndarray | Tensor) else [predicted]
