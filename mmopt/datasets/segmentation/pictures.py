"""Pictures of a segmented image: image, prediction and ground truth over it, legend.

Shape letters: H W image, K classes. Pictures are uint8 RGB.
"""

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np

from mmopt.datasets.common.legend import BACKGROUND, FAINT, GAP, TEXT, draw_legend
from mmopt.datasets.common.pictures import text_size, write_text

__all__ = ['colorize', 'draw_segmentation', 'name_regions', 'palette_of', 'tint']

_TITLE, _HEADER = 34, 28
_OPACITY = 0.62
_PANEL_PX = 640
_PIXELS_PER_TEXT, _PIXELS_PER_LINE = 70, 800
"""Longer sides of a picture per pixel of its font and of its lines."""
_MIN_TEXT, _REGION_PX = 11, 512


def palette_of(num_classes: int) -> list[tuple[int, int, int]]:
    """Return distinct colors: golden-ratio hues, lightness in three steps."""
    colors = []
    for index in range(num_classes):
        red, green, blue = colorsys.hls_to_rgb(index * 0.618034 % 1.0, (0.55, 0.4, 0.7)[index % 3], 0.65)
        colors.append((round(255 * red), round(255 * green), round(255 * blue)))
    return colors


def colorize(label_HW: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Return the colors of a label, uint8 RGB; ignored pixels are black."""
    if label_HW.dtype != np.uint8:
        colors = np.array([*palette, (0, 0, 0)], np.uint8)
        return colors[np.minimum(label_HW, len(palette))]
    table = np.zeros((1, 256, 3), np.uint8)
    table[0, : len(palette)] = palette
    return cv2.LUT(cv2.merge([np.ascontiguousarray(label_HW)] * 3), table)  # in a fifth of the time of table[label]


def tint(image_HW3: np.ndarray, label_HW: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Lay the colors of a label over its image; ignored pixels keep the image, darkened."""
    colored = cv2.addWeighted(colorize(label_HW, palette), _OPACITY, image_HW3, 1 - _OPACITY, 0)
    ignored = label_HW >= len(palette)
    if ignored.any():
        colored[ignored] = image_HW3[ignored] // 3
    return colored


def name_regions(picture_HW3: np.ndarray, label_HW: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Write the name of each class into its largest region, where it has most room, and draw the borders of classes.

    Args:
        picture_HW3: uint8 RGB, contiguous; changed in place.
        label_HW: Class numbers of its pixels.
        classes: Names, by class number.

    Returns:
        The picture.
    """
    largest = max(label_HW.shape)
    size, line = max(round(largest / _PIXELS_PER_TEXT), _MIN_TEXT), max(round(largest / _PIXELS_PER_LINE), 1)
    _draw_borders(picture_HW3, label_HW, line)
    # Regions are looked for in a small picture: of two megapixels it would take as long as a small model.
    shrink = max(-(-largest // _REGION_PX), 1)
    written: list[tuple[int, int, int]] = []
    small_HW = np.ascontiguousarray(label_HW[::shrink, ::shrink])
    for number in np.unique(small_HW).tolist():
        if number >= len(classes):
            continue
        mask_HW = cv2.copyMakeBorder((small_HW == number).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
        depth_HW = cv2.distanceTransform(mask_HW, cv2.DIST_L2, 3)
        _, depth, _, (column, row) = cv2.minMaxLoc(depth_HW)
        if depth * shrink < 0.75 * size:
            continue
        width = text_size(classes[number], size)[0]
        left, top = (column - 1) * shrink - width // 2, (row - 1) * shrink - size // 2 - 2
        left = min(max(left, 2), label_HW.shape[1] - width - 2)
        top = min(max(top, 1), label_HW.shape[0] - size - 4)
        overlaps = any(abs(top - y) < size + 4 and left <= stop and x <= left + width for x, y, stop in written)
        if left < 0 or top < 0 or overlaps:
            continue
        written.append((left, top, left + width))
        ground = picture_HW3[top : top + size + 4, max(left - 2, 0) : left + width + 3]
        ground //= 3
        write_text(picture_HW3, classes[number], left, top, size=size, color=(255, 255, 255))
    return picture_HW3


def _draw_borders(picture_HW3: np.ndarray, label_HW: np.ndarray, line: int) -> None:
    """Darken the pixels at which a class ends: classes of like colors are told apart."""
    border_HW: np.ndarray = np.zeros(label_HW.shape, np.uint8)
    border_HW[:, 1:] |= label_HW[:, 1:] != label_HW[:, :-1]
    border_HW[1:] |= label_HW[1:] != label_HW[:-1]
    if line > 1:
        border_HW = cv2.dilate(border_HW, np.ones((line, line), np.uint8))
    cv2.copyTo(picture_HW3 // 3, border_HW, picture_HW3)


def draw_segmentation(
    image_HW3: np.ndarray,
    truth_HW: np.ndarray,
    pred_HW: np.ndarray | None = None,
    *,
    title: str,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
) -> np.ndarray:
    """Draw image, prediction and ground truth side by side under a title, with a legend.

    Args:
        image_HW3: The image, uint8 RGB.
        truth_HW: Its label.
        pred_HW: The predicted label, or None for a picture without prediction.
        title: Name of the sample.
        classes: K names; those that occur nowhere are grayed in the legend.
        palette: K colors.

    Returns:
        The picture, uint8 (H', W', 3).
    """
    width = _PANEL_PX
    height = round(width * image_HW3.shape[0] / image_HW3.shape[1])

    def fit(label: np.ndarray) -> np.ndarray:
        return cv2.resize(label, (width, height), interpolation=cv2.INTER_NEAREST)

    image = cv2.resize(image_HW3, (width, height), interpolation=cv2.INTER_AREA)
    panels = [('image', image), ('ground truth', tint(image, fit(truth_HW), palette))]
    if pred_HW is not None:
        panels.insert(1, ('prediction', tint(image, fit(pred_HW), palette)))
    total = len(panels) * (width + GAP) + GAP
    occurs = np.isin(np.arange(len(classes)), truth_HW)
    if pred_HW is not None:
        occurs |= np.isin(np.arange(len(classes)), pred_HW)
    legend = draw_legend(classes, palette, occurs.tolist(), total)
    top = _TITLE + _HEADER
    picture = np.full((top + height + GAP + legend.shape[0], total, 3), BACKGROUND, np.uint8)
    write_text(picture, title, GAP, 8, size=19, color=TEXT, bold=True)
    for index, (name, panel) in enumerate(panels):
        left = GAP + index * (width + GAP)
        write_text(picture, name, left, _TITLE + 4, size=15, color=FAINT)
        picture[top : top + height, left : left + width] = panel
    picture[top + height + GAP :] = legend
    return picture
