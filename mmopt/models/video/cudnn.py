"""Versions of cuDNN whose 3D convolutions in bfloat16 are wrong."""

import functools
import logging

import torch
from mmengine.logging import print_log
from torch import Tensor

__all__ = ['WRONG_CUDNN', 'find_broken_conv3d', 'warn_of_broken_conv3d']

WRONG_CUDNN = ((9, 8), (9, 15))
"""cuDNN from the first version to below the second can compute wrong numbers."""


def find_broken_conv3d(cudnn_version: int | None) -> str | None:
    """Say what is wrong with bfloat16 3D convolutions of this version.

    Args:
        cudnn_version: As ``torch.backends.cudnn.version()``: major * 10000 + minor * 100 + patch from 9 on.

    Returns:
        A sentence with the remedy, or None.
    """
    cudnn = None if cudnn_version is None else (cudnn_version // 10000, cudnn_version // 100 % 100)
    if cudnn is not None and WRONG_CUDNN[0] <= cudnn < WRONG_CUDNN[1]:
        return (
            f'cuDNN {cudnn[0]}.{cudnn[1]} can compute 3D convolutions in bfloat16 '
            'wrongly (9.8 to 9.14 are affected). Install nvidia-cudnn-cu12>=9.15, or use --precision fp16.'
        )
    return None


def warn_of_broken_conv3d(x: Tensor) -> None:
    """Warn, once, if ``x`` is about to meet such a convolution."""
    autocast = torch.is_autocast_enabled('cuda') and torch.get_autocast_dtype('cuda') == torch.bfloat16
    if x.is_cuda and (autocast or x.dtype == torch.bfloat16):
        _warn(find_broken_conv3d(torch.backends.cudnn.version()))


@functools.cache
def _warn(problem: str | None) -> None:
    if problem is not None:
        print_log(problem, 'current', level=logging.WARNING)
