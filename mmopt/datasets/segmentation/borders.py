"""Distances to class borders, and the two regions of the loss that they define.

A border pixel has a 4-neighbor of another class; where either is ignored, there is no border. The distance of a pixel
is Euclidean and exact, in pixels, to the nearest border pixel (0 on it): a band of width w holds w pixels on either
side of a border. Distances are kept as whole sixteenths of a pixel (uint16): comparing with whole pixels stays exact.

Shape letters: H W label.
"""

import cv2
import numpy as np

from mmopt.structures.pixel_labels import ignored_label

__all__ = ['NO_BORDER', 'UNITS_PER_PIXEL', 'border_distance', 'border_pixels', 'border_regions']

UNITS_PER_PIXEL = 16
NO_BORDER = 65535
"""Distance where an image has no border at all."""


def border_pixels(label_HW: np.ndarray) -> np.ndarray:
    """Mark the pixels with a 4-neighbor of another class, bool (H, W)."""
    valid = label_HW != ignored_label(label_HW.dtype)
    border = np.zeros(label_HW.shape, bool)
    for axis in (0, 1):
        firsts, seconds = [slice(None), slice(None)], [slice(None), slice(None)]
        firsts[axis], seconds[axis] = slice(None, -1), slice(1, None)
        first, second = tuple(firsts), tuple(seconds)
        differs = (label_HW[first] != label_HW[second]) & valid[first] & valid[second]
        border[first] |= differs
        border[second] |= differs
    return border


def border_distance(label_HW: np.ndarray) -> np.ndarray:
    """Measure every pixel's distance to the nearest border pixel.

    Args:
        label_HW: Classes, of :func:`~mmopt.structures.pixel_labels.label_type`.

    Returns:
        uint16 sixteenths of a pixel (rounded down); :data:`NO_BORDER` throughout where there is no border.
    """
    border = border_pixels(label_HW)
    if not border.any():
        return np.full(label_HW.shape, NO_BORDER, np.uint16)
    distance_px = cv2.distanceTransform((~border).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # The root of a whole number: a nudge far below its distance to the next one mends float32's rounding.
    return np.minimum((distance_px + 1e-4) * UNITS_PER_PIXEL, NO_BORDER - 1).astype(np.uint16)


def border_regions(
    distance_HW: np.ndarray, largest: int, *, edge_width: int, near: float, scale: float = 1.0
) -> np.ndarray:
    """Mark the band around borders and what is near them.

    Args:
        distance_HW: From :func:`border_distance`, possibly enlarged since.
        largest: Largest distance of the whole image, in the same units: what distances are normalized by.
        edge_width: Pixels of the band on either side, in the enlarged image.
        near: Normalized distance below which a pixel is near a border.
        scale: By how much the map was enlarged.

    Returns:
        uint8 (H, W): bit 0 is the band, bit 1 near a border.
    """
    has_border = distance_HW != NO_BORDER
    edge = (distance_HW < edge_width * UNITS_PER_PIXEL / scale) & has_border
    # On the border itself a pixel is near also where all pixels are (largest 0).
    close = ((distance_HW < near * largest) | (distance_HW == 0)) & has_border
    return edge.astype(np.uint8) | close.astype(np.uint8) << 1
