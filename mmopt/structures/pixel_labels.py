"""Class numbers of pixels: one byte where it holds them, two where there are more classes."""

import numpy as np
import torch

__all__ = ['MOST_CLASSES', 'ignored_label', 'label_type']

_IGNORED_8, _IGNORED_16 = 255, 32767

MOST_CLASSES = _IGNORED_16 - 1
"""Behind them come a value that may not occur and the one of pixels that do not count."""


def label_type(num_classes: int) -> str:
    """Return the name of the smallest type that holds the classes, in numpy and in torch: uint8 or int16.

    int16 and not uint16, which few of torch's kernels take.
    """
    return 'uint8' if num_classes < _IGNORED_8 else 'int16'


def ignored_label(dtype: np.dtype | torch.dtype) -> int:
    """Return the number of pixels that do not count in a label of this type: 32767 in int16, else 255."""
    return _IGNORED_16 if str(dtype).removeprefix('torch.') == 'int16' else _IGNORED_8
