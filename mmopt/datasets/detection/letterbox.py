"""Put an image on a canvas of the network's size, and its boxes with it.

Boxes are (x1, y1, x2, y2) in pixels; an image has any number of channels.

Shape letters: G boxes, H W image.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from mmopt.registry import TRANSFORMS

__all__ = ['FILL', 'Letterbox', 'RandomLetterbox', 'as_size', 'fit_scale', 'paste', 'resize', 'scale_boxes']

FILL = 114
"""Gray of the border."""
MIN_SIDE = 2.0
"""Narrower boxes, in pixels of the network's input, are no objects that could be learnt."""
MIN_VISIBLE = 0.3
"""A box of which less is left inside the canvas is left out."""


def as_size(size: int | Sequence[int]) -> tuple[int, int]:
    """Return (height, width) of one number or a pair."""
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def fit_scale(shape: Sequence[int], size: Sequence[int]) -> float:
    """Return the scale at which an image of ``shape`` (height, width) just fits into ``size``."""
    return min(size[0] / shape[0], size[1] / shape[1])


def resize(img_HWC: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize; shrinking averages, so that small objects fade instead of vanishing between samples."""
    if img_HWC.shape[:2] == (height, width):
        return img_HWC
    smaller = height < img_HWC.shape[0] and width < img_HWC.shape[1]
    way = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    # OpenCV resizes four channels at most: view by view.
    views = [img_HWC[..., first : first + 3] for first in range(0, img_HWC.shape[2], 3)]
    resized = [cv2.resize(view, (width, height), interpolation=way) for view in views]
    return resized[0] if len(resized) == 1 else np.concatenate(resized, axis=2)


def paste(
    canvas_HWC: np.ndarray,
    img_HWC: np.ndarray,
    boxes_G4: np.ndarray,
    *,
    corner: tuple[int, int],
    window: tuple[int, int, int, int],
    min_visible: float = MIN_VISIBLE,
) -> tuple[np.ndarray, np.ndarray]:
    """Paste an image into a window of a canvas, in place.

    Args:
        img_HWC: The image, already of the size it gets.
        boxes_G4: Its boxes, in its own pixels.
        corner: Column and row of the image's upper left corner on the canvas; may lie outside.
        window: x1, y1, x2, y2: nothing outside is written.
        min_visible: Share of a box's area that must stay inside.

    Returns:
        The boxes on the canvas, clipped, and which of ``boxes_G4`` they are (bool).
    """
    height, width = img_HWC.shape[:2]
    left, top = corner
    x1, y1 = max(left, window[0]), max(top, window[1])
    x2, y2 = min(left + width, window[2]), min(top + height, window[3])
    if x1 >= x2 or y1 >= y2:
        return boxes_G4[:0], np.zeros(len(boxes_G4), dtype=bool)
    canvas_HWC[y1:y2, x1:x2] = img_HWC[y1 - top : y2 - top, x1 - left : x2 - left]
    moved_G4 = boxes_G4 + np.array([left, top, left, top], np.float32)
    clipped_G4 = moved_G4.clip(np.array([x1, y1, x1, y1], np.float32), np.array([x2, y2, x2, y2], np.float32))
    side_G2, full_G2 = clipped_G4[:, 2:] - clipped_G4[:, :2], moved_G4[:, 2:] - moved_G4[:, :2]
    keep_G = (side_G2 >= MIN_SIDE).all(axis=1) & (side_G2.prod(axis=1) >= min_visible * full_G2.prod(axis=1))
    return clipped_G4[keep_G], keep_G


def scale_boxes(boxes_G4: np.ndarray, old: Sequence[int], new: Sequence[int]) -> np.ndarray:
    """Scale boxes with an image that was resized from ``old`` to ``new`` (height, width)."""
    factor = np.array([new[1] / old[1], new[0] / old[0]] * 2, np.float32)
    return boxes_G4 * factor


@TRANSFORMS.register_module()
class Letterbox:
    """Scale the image so that it just fits, and center it on gray.

    Writes ``letterbox`` = (scale x, scale y, left, top): a pixel (x, y) of the file lies at (x * scale x + left,
    y * scale y + top).

    Args:
        size: Height and width of the result, or one number for a square.
    """

    def __init__(self, size: int | Sequence[int]) -> None:
        self.size = as_size(size)

    def __call__(self, results: dict) -> dict:
        img_HWC, (height, width) = results['img'], self.size
        scale = fit_scale(img_HWC.shape, self.size)
        new = max(round(img_HWC.shape[0] * scale), 1), max(round(img_HWC.shape[1] * scale), 1)
        corner = (width - new[1]) // 2, (height - new[0]) // 2
        return _place(results, self.size, new, corner, min_visible=0.0)


@TRANSFORMS.register_module()
class RandomLetterbox:
    """Scale the image at random about the size that just fits and put it at a random place.

    An image that is a mosaic already stays as it is.

    Args:
        size: Height and width of the result, or one number for a square.
        scale: Range of the factor on the size that just fits.
        aspect: The width is multiplied by up to 1 + this, or divided by it.
    """

    def __init__(self, size: int | Sequence[int], scale: tuple[float, float] = (0.5, 1.5), aspect: float = 0.1) -> None:
        self.size = as_size(size)
        self.scale = tuple(scale)
        self.aspect = aspect

    def __call__(self, results: dict) -> dict:
        if 'letterbox' in results:
            return results
        img_HWC, rng = results['img'], results['rng']
        scale = fit_scale(img_HWC.shape, self.size) * rng.uniform(*self.scale)
        stretch = (1 + self.aspect) ** rng.uniform(-1, 1)
        new = max(round(img_HWC.shape[0] * scale), 1), max(round(img_HWC.shape[1] * scale * stretch), 1)
        # A smaller image anywhere on the canvas, a larger one at any crop.
        room = self.size[1] - new[1], self.size[0] - new[0]
        corner = tuple(round(space * share) for space, share in zip(room, rng.random(2), strict=True))
        return _place(results, self.size, new, corner)


def _place(
    results: dict,
    size: tuple[int, int],
    new: tuple[int, int],
    corner: tuple[int, int],
    min_visible: float = MIN_VISIBLE,
) -> dict:
    img_HWC = results['img']
    old = img_HWC.shape[:2]
    canvas_HWC = np.full((*size, img_HWC.shape[2]), FILL, np.uint8)
    boxes_G4, keep_G = paste(
        canvas_HWC,
        resize(img_HWC, *new),
        scale_boxes(results['boxes'], old, new),
        corner=corner,
        window=(0, 0, size[1], size[0]),
        min_visible=min_visible,
    )
    return results | dict(
        img=canvas_HWC,
        img_shape=size,
        boxes=boxes_G4,
        labels=results['labels'][keep_G],
        letterbox=(new[1] / old[1], new[0] / old[0], *corner),
    )
