"""Class probabilities of whole images: several sizes, mirrored as well, in windows where an image is large.

Shape letters: B batch, K classes, H W image.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ['average_probabilities', 'slide', 'window_starts']


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """Return where windows begin so that they cover ``length``; the last one ends with it."""
    if length <= window:
        return [0]
    starts = list(range(0, length - window, stride))
    return [*starts, length - window]


def _windows(
    height: int, width: int, window: tuple[int, int], stride: tuple[int, int]
) -> Iterator[tuple[slice, slice]]:
    for top in window_starts(height, window[0], stride[0]):
        for left in window_starts(width, window[1], stride[1]):
            yield slice(top, top + window[0]), slice(left, left + window[1])


def slide(
    probabilities: Callable[[Tensor], Tensor], image_B3HW: Tensor, window: tuple[int, int], stride: tuple[int, int]
) -> Tensor:
    """Predict in overlapping windows and average where they overlap.

    Args:
        probabilities: Maps images to probabilities (B, K, H, W) of the same size.
        image_B3HW: Images; smaller ones than the window are one window.
        window: Height and width.
        stride: Step down and to the right.

    Returns:
        Probabilities (B, K, H, W).
    """
    height, width = image_B3HW.shape[-2:]
    total: Tensor | None = None
    count_HW = image_B3HW.new_zeros(height, width, dtype=torch.float32)
    for rows, columns in _windows(height, width, window, stride):
        part = probabilities(image_B3HW[..., rows, columns])
        if total is None:
            total = part.new_zeros(*part.shape[:2], height, width)
        total[..., rows, columns] += part
        count_HW[rows, columns] += 1
    assert total is not None, 'an image has at least one window'
    return total.div_(count_HW)


def average_probabilities(
    logits: Callable[[Tensor], Tensor],
    image_B3HW: Tensor,
    *,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    window: tuple[int, int] | None = None,
    stride: tuple[int, int] | None = None,
) -> Tensor:
    """Average the probabilities over sizes and mirror images; one sum is kept, whatever their number.

    Args:
        logits: Maps images to logits (B, K, H, W) of the same size.
        image_B3HW: Normalized images.
        scales: Factors of the size.
        flip: Predict mirrored images as well.
        window: Height and width of sliding windows; None predicts whole images.
        stride: Step of the windows; two thirds of the window by default.

    Returns:
        float32 probabilities (B, K, H, W).
    """

    def whole(image: Tensor) -> Tensor:
        return logits(image).float().softmax(dim=1)

    def predict(image: Tensor) -> Tensor:
        if window is None:
            return whole(image)
        step = stride or (max(window[0] * 2 // 3, 1), max(window[1] * 2 // 3, 1))
        return slide(whole, image, window, step)

    size = image_B3HW.shape[-2:]
    total: Tensor | None = None
    for scale in scales:
        scaled = image_B3HW
        if scale != 1:
            target = [max(round(length * scale), 1) for length in size]
            scaled = F.interpolate(image_B3HW, target, mode='bilinear', align_corners=False)
        for mirror in (False, True) if flip else (False,):
            part = predict(scaled.flip(-1)).flip(-1) if mirror else predict(scaled)
            if part.shape[-2:] != size:
                part = F.interpolate(part, size, mode='bilinear', align_corners=False)
            total = part if total is None else total.add_(part)
    assert total is not None, 'scales are not empty'
    return total.div_(len(scales) * (2 if flip else 1))
