"""What a model of mmcv 1.x predicts, as one result per sample."""

import functools
import importlib
import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ['arguments_of_a_test', 'arrays_of_halves', 'find_mask_encoder', 'results_of', 'with_encoded_masks']


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


def arguments_of_a_test(model_class: Any) -> dict[str, bool]:
    """Return what a repository's own test loop passes to ``forward`` beside the batch.

    Args:
        model_class: The repository's class.

    Returns:
        ``test_mode=True`` as MMEditing has it, else ``return_loss=False``; with ``rescale=True`` where its
        ``simple_test`` has that argument: results in the size of the original image.
    """
    taken = inspect.signature(model_class.forward).parameters
    if 'test_mode' in taken and 'return_loss' not in taken:
        return dict(test_mode=True)
    simple_test = getattr(model_class, 'simple_test', None)
    has_rescale = simple_test is not None and 'rescale' in inspect.signature(simple_test).parameters
    return dict(return_loss=False, rescale=True) if has_rescale else dict(return_loss=False)


def results_of(predicted: Any) -> list:
    """Make a list of a batch's results.

    Args:
        predicted: What ``forward(return_loss=False)`` returned: a list with one entry per sample, an array of them, or
            one object for the whole batch.

    Returns:
        The list, of one entry where the batch has one object.
    """
    return list(predicted) if isinstance(predicted, list | tuple | np.ndarray | Tensor) else [predicted]


@functools.cache
def find_mask_encoder(kind: type) -> Callable | None:
    """Return the function by which a library packs the masks of its results for ``dataset.evaluate``.

    Args:
        kind: A class of the library: of the data set.

    Returns:
        ``encode_mask_results`` of the class's package, or of one that it is built on; None where none has it.
    """
    roots = dict.fromkeys(base.__module__.partition('.')[0] for base in kind.__mro__)
    for root in roots:
        try:
            found = getattr(importlib.import_module(f'{root}.core'), 'encode_mask_results', None)
        except ImportError:
            continue
        if found is not None:
            return found
    return None


def with_encoded_masks(results: Sequence, encode: Callable) -> list:
    """Pack masks, as the test loops of MMDetection 2 do between a model and ``dataset.evaluate``.

    Args:
        results: One entry per sample: pairs of boxes and masks, or dicts with such a pair as ``ins_results``; others
            stay.
        encode: From :func:`find_mask_encoder`.

    Returns:
        The results.
    """
    encoded: list[Any] = []
    for result in results:
        if isinstance(result, tuple) and len(result) == 2:
            result = (result[0], encode(result[1]))
        elif isinstance(result, dict) and isinstance(result.get('ins_results'), tuple):
            boxes, masks = result['ins_results']
            result = dict(result, ins_results=(boxes, encode(masks)))
        encoded.append(result)
    return encoded
