"""What a model of mmcv 1.x predicts, as one result per sample."""

import inspect
from typing import Any

import numpy as np
from torch import Tensor

__all__ = ['results_of', 'takes_rescale']


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
