"""Pictures of a bird's-eye-view sample: camera image, prediction, ground truth, legend.

Shape letters: H, W image; C = 14 classes; Z rows of the map (nearest first), X its columns. Maps are drawn with the car
at the bottom, so rows are flipped. Pictures are uint8 RGB.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from mmopt.datasets.common.legend import BACKGROUND, FAINT, GAP, HATCH, TEXT, draw_legend
from mmopt.datasets.common.pictures import text_size, write_text

__all__ = ['CELL_M', 'NEAREST_M', 'draw_bev_map', 'draw_bev_sample']

_FREE = (46, 50, 58)  # a cell that counts and holds no class
_CELL_PX = 3
CELL_M = 0.25
"""Side of a cell of the map, in meters."""
NEAREST_M = 1.0
"""Distance of the nearest row."""
_HEADER = 34


def draw_bev_map(
    maps_CZX: np.ndarray, valid_ZX: np.ndarray, palette: Sequence[Sequence[int]], cell_px: int = _CELL_PX
) -> np.ndarray:
    """Paint class maps, later classes over earlier ones (ground, then what stands on it).

    Args:
        maps_CZX: bool, one map per class.
        valid_ZX: bool, cells that count; the others are hatched and what they hold shines through darkly.
        palette: C colors.
        cell_px: Pixels per cell and side.

    Returns:
        The map, uint8 (Z * cell_px, X * cell_px, 3), far at the top, with a line every 10 m, a scale of 10 m and the
        place of the car below.
    """
    painted = np.full((*valid_ZX.shape, 3), _FREE, np.uint8)
    for class_map_ZX, color in zip(maps_CZX, palette, strict=True):
        painted[class_map_ZX] = color
    seen = np.repeat(np.repeat(valid_ZX[::-1], cell_px, 0), cell_px, 1)
    painted = np.repeat(np.repeat(painted[::-1], cell_px, 0), cell_px, 1)

    # Hatched at 45 degrees: a color alone would read as one more class.
    rows, columns = np.ogrid[: painted.shape[0], : painted.shape[1]]
    hatch = (rows + columns) % (4 * cell_px) < cell_px
    unseen = np.where(hatch[..., None], HATCH, BACKGROUND) * 0.8 + painted * 0.2
    painted = np.where(seen[..., None], painted, unseen).astype(np.uint8)
    _draw_ranges(painted, cell_px)
    _draw_scale(painted, cell_px)
    return painted


def _draw_ranges(painted: np.ndarray, cell_px: int) -> None:
    height, width = painted.shape[:2]
    for depth_m in range(10, int(NEAREST_M + height / cell_px * CELL_M) + 1, 10):
        row = round(height - (depth_m - NEAREST_M) / CELL_M * cell_px)
        if not 0 < row < height:
            continue
        painted[row] = painted[row] * 0.75 + np.multiply(TEXT, 0.25)
        field = painted[row + 2 : row + 18, : text_size(f'{depth_m} m', 11)[0] + 10]
        field[:] = field * 0.35  # readable on any ground
        write_text(painted, f'{depth_m} m', 5, row + 2, size=11, color=TEXT)
    # The camera stands 1 m below the lowest row, in the middle.
    middle, half = width // 2, 3 * cell_px
    arrow = np.array([[middle, height - 4 * cell_px], [middle - half, height - 1], [middle + half, height - 1]])
    cv2.fillPoly(painted, [arrow.astype(np.int32)], TEXT, lineType=cv2.LINE_AA)


def _draw_scale(painted: np.ndarray, cell_px: int, length_m: int = 10) -> None:
    length, right, bottom = round(length_m / CELL_M * cell_px), painted.shape[1] - 12, painted.shape[0] - 12
    field = painted[bottom - 26 : bottom + 6, right - length - 8 : right + 8]
    field[:] = field * 0.35  # readable on any ground
    painted[bottom - 2 : bottom + 1, right - length : right] = TEXT
    for start in (right - length, right - 2):
        painted[bottom - 6 : bottom + 1, start : start + 2] = TEXT
    text = f'{length_m} m'
    left = right - (length + text_size(text, 12)[0]) // 2
    write_text(painted, text, left, bottom - 22, size=12, color=TEXT)


def draw_bev_sample(
    image_HW3: np.ndarray,
    truth_CZX: np.ndarray | None,
    valid_ZX: np.ndarray | None,
    pred_CZX: np.ndarray | None = None,
    *,
    title: str,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
    aspect: float | None = None,
    hidden: str = 'not counted',
) -> np.ndarray:
    """Draw camera image, prediction and ground truth side by side under a title, with a legend.

    Args:
        image_HW3: Camera image, uint8 RGB.
        truth_CZX: bool, one map per class; None where nobody knows it.
        valid_ZX: bool, cells that count; None: all.
        pred_CZX: bool, or None for a picture without prediction.
        title: Name of the sample.
        classes: C names. Those that occur in no map are grayed in the legend.
        palette: C colors.
        aspect: Width / height to show the image at (the network's input is squeezed); None keeps its own.
        hidden: What the legend says of cells that do not count.

    Returns:
        The picture, uint8 (H', W', 3).
    """
    maps = [(name, maps_CZX) for name, maps_CZX in (('prediction', pred_CZX), ('ground truth', truth_CZX))
            if maps_CZX is not None]  # fmt: skip
    counts_ZX = np.ones(maps[0][1].shape[1:], bool) if valid_ZX is None else valid_ZX
    panels = [(name, draw_bev_map(maps_CZX, counts_ZX, palette)) for name, maps_CZX in maps]
    height = panels[0][1].shape[0]
    aspect = aspect or image_HW3.shape[1] / image_HW3.shape[0]
    shrinks = height < image_HW3.shape[0]
    camera = cv2.resize(
        image_HW3, (round(height * aspect), height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    )
    panels.insert(0, ('camera', camera))

    width = sum(panel.shape[1] for _, panel in panels) + GAP * (len(panels) + 1)
    occurs = np.any([maps_CZX.any((1, 2)) for _, maps_CZX in maps], axis=0)
    names, shown = list(classes), occurs.tolist()
    colors: list[Sequence[int] | None] = list(palette)
    if valid_ZX is not None:
        names, colors, shown = [*names, hidden], [*colors, None], [*shown, True]
    legend = draw_legend(names, colors, shown, width)
    top = GAP + 2 * _HEADER
    picture = np.full((top + height + GAP + legend.shape[0], width, 3), BACKGROUND, np.uint8)
    write_text(picture, title, GAP, GAP - 2, size=21, color=TEXT, bold=True)
    left = GAP
    for name, panel in panels:
        write_text(picture, name, left, top - 26, size=17, color=FAINT)
        picture[top : top + height, left : left + panel.shape[1]] = panel
        left += panel.shape[1] + GAP
    picture[top + height + GAP :] = legend
    return picture
