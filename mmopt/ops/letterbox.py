"""From a letterboxed image back to its file: the one place where metric and predictions ask.

Shape letters: N boxes.
"""

from collections.abc import Sequence

import numpy as np

__all__ = ['to_file_pixels']


def to_file_pixels(boxes_N4: np.ndarray, letterbox: Sequence[float], size: Sequence[int]) -> np.ndarray:
    """Undo a letterbox.

    Args:
        boxes_N4: x1, y1, x2, y2 in pixels of the network's input.
        letterbox: Scale x, scale y, left, top: a pixel (x, y) of the file lies at (x * scale x + left, ...).
        size: Height and width of the file in pixels.

    Returns:
        float64 (N, 4), in pixels of the file, clipped to it.
    """
    scale_x, scale_y, left, top = letterbox
    moved_N4 = np.asarray(boxes_N4, np.float64) - [left, top, left, top]
    height, width = size[:2]
    return (moved_N4 / [scale_x, scale_y, scale_x, scale_y]).clip(0, [width, height, width, height])
