"""The look of pictures of samples, and their legend of classes. Colors are RGB."""

from collections.abc import Sequence

import numpy as np

from mmopt.datasets.common.pictures import text_size, write_text

__all__ = ['BACKGROUND', 'FAINT', 'GAP', 'HATCH', 'TEXT', 'draw_legend']

BACKGROUND = (20, 22, 27)
TEXT = (232, 234, 238)
FAINT = (128, 134, 144)
HATCH = (44, 48, 56)
GAP = 18
_ROW = 30
_SWATCH, _SIZE = 18, 15


def draw_legend(
    classes: Sequence[str], palette: Sequence[Sequence[int] | None], occurs: Sequence[bool], width: int
) -> np.ndarray:
    """Draw a field of color and a name for every class, in even rows.

    Args:
        classes: Names; underscores become spaces.
        palette: Their colors; None is hatched.
        occurs: Whether a class is in the picture; the others are grayed.
        width: Pixels.

    Returns:
        The legend, uint8 (H, width, 3).
    """
    names = [name.replace('_', ' ') for name in classes]
    cell = max(text_size(name, _SIZE)[0] for name in names) + _SWATCH + 32
    per_row = max((width - 2 * GAP) // cell, 1)
    num_rows = -(-len(names) // per_row)
    per_row = -(-len(names) // num_rows)
    cell = (width - 2 * GAP) // per_row
    legend = np.full((num_rows * _ROW + GAP, width, 3), BACKGROUND, np.uint8)
    for index, (name, color, seen) in enumerate(zip(names, palette, occurs, strict=True)):
        top, left = index // per_row * _ROW + 2, GAP + index % per_row * cell
        field = legend[top : top + _SWATCH, left : left + _SWATCH]
        if color is None:
            rows, columns = np.ogrid[:_SWATCH, :_SWATCH]
            field[:] = np.where(((rows + columns) % 6 < 2)[..., None], np.multiply(HATCH, 1.8), BACKGROUND)
        else:
            field[:] = color if seen else np.multiply(color, 0.35) + np.multiply(BACKGROUND, 0.65)
        write_text(legend, name, left + _SWATCH + 8, top, size=_SIZE, color=TEXT if seen else FAINT)
    return legend
