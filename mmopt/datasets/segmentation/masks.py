"""Masks as people have them: gray values, indices of a palette, or colors.

Shape letters: H W mask, P colors.
"""

import io
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image

from mmopt.datasets.common.decode import check_png, decode, read_encoded
from mmopt.structures.pixel_labels import ignored_label
from mmopt.utils.errors import DataError

__all__ = ['IGNORED_16', 'read_label', 'read_mask', 'unknown_label']

IGNORED_16 = 65535
"""The value of a mask that is ignored where there are more classes than 8 bits hold."""


def unknown_label(dtype: np.dtype) -> int:
    """Return what a data set's table gives for values that no label may have."""
    return ignored_label(dtype) - 1


def read_label(path: str, label_table: np.ndarray, palette: Sequence[Sequence[int]] | None = None) -> np.ndarray:
    """Read a mask and turn its values into classes.

    Args:
        label_table: From :func:`~mmopt.datasets.segmentation.image_mask.label_table`.
        palette: See :func:`read_mask`.

    Returns:
        (H, W) of the table's type.

    Raises:
        DataNotFoundError: If the file is not there.
        DataError: If it cannot be read as a mask or holds a value that may not occur.
    """
    raw_HW = read_mask(path, palette)
    unknown = unknown_label(label_table.dtype)
    if raw_HW.dtype == np.uint8:
        label_HW = cv2.LUT(raw_HW, label_table[:256])
    else:
        last = len(label_table) - 1
        label_HW = label_table[np.minimum(raw_HW, last)]
        label_HW[raw_HW > last] = unknown
        if last < IGNORED_16 and label_table.dtype != np.uint8:
            label_HW[raw_HW == IGNORED_16] = ignored_label(label_table.dtype)
    if label_HW.max() >= unknown and (label_HW == unknown).any():
        values = np.unique(raw_HW[label_HW == unknown]).tolist()
        shown = f'{values[:8]} and {len(values) - 8} more values' if len(values) > 8 else f'{values}'
        raise DataError(
            f'{path}: holds {shown}, which are neither classes nor to be ignored. Add them to label_map of the data '
            f'set ({"255" if label_table.dtype == np.uint8 else IGNORED_16} ignores), or mend the mask.'
        )
    return label_HW


def read_mask(path: str, palette: Sequence[Sequence[int]] | None = None) -> np.ndarray:
    """Read the values of a mask.

    A file with a palette (Pascal VOC) gives its indices, not its colors; a gray picture kept as three equal channels
    gives one of them.

    Args:
        palette: Red, green and blue of each class, for masks that hold colors; None: they hold numbers.

    Returns:
        uint8 or uint16 (H, W).

    Raises:
        DataNotFoundError: If the file is not there.
        DataError: If it cannot be read, or holds colors that ``palette`` does not name.
    """
    encoded = read_encoded(path)
    if encoded[:2] == b'BM' or (encoded[:4] == b'\x89PNG' and encoded[25:26] == b'\x03'):
        indices = _read_indices(path, encoded)
        if indices is not None and palette is None:
            return indices
    raw = decode(path, encoded, cv2.IMREAD_UNCHANGED)
    if raw.dtype not in (np.uint8, np.uint16):
        raise DataError(f'{path}: a mask has values of 8 or 16 bits, this is of type {raw.dtype}.')
    if raw.ndim == 2:
        return raw if palette is None else _find_colors(path, np.repeat(raw[..., None], 3, axis=-1), palette)
    if raw.shape[-1] == 4 and (raw[..., 3] == np.iinfo(raw.dtype).max).all():
        raw = raw[..., :3]
    if palette is not None and raw.shape[-1] == 3:
        return _find_colors(path, raw[..., ::-1], palette)
    if raw.shape[-1] == 3 and (raw == raw[..., :1]).all():
        return np.ascontiguousarray(raw[..., 0])
    raise DataError(
        f'{path}: a mask has one number per pixel, this has {raw.shape[-1]} channels of colors. Name the color of each '
        'class: palette=[(red, green, blue), ...] of the data set.'
    )


def _read_indices(path: str, encoded: bytes) -> np.ndarray | None:
    """Return the indices of a file with a palette; None for one without."""
    check_png(path, encoded)
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            return np.array(image) if image.mode == 'P' else None
    except (OSError, SyntaxError) as error:
        raise DataError(f'{path}: not an image that can be read: {error}.') from error


def _find_colors(path: str, rgb_HW3: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Turn colors into their places in the palette."""
    weights = np.array([65536, 256, 1])
    codes_P = (np.asarray(palette, dtype=np.int64) @ weights).astype(np.int64)
    codes_HW = rgb_HW3.astype(np.int64) @ weights
    order = np.argsort(codes_P, kind='stable')
    place_HW = np.searchsorted(codes_P, codes_HW, sorter=order).clip(max=len(codes_P) - 1)
    index_HW = order[place_HW]
    foreign = codes_P[index_HW] != codes_HW
    if foreign.any():
        colors = [(int(code) >> 16, int(code) >> 8 & 255, int(code) & 255) for code in np.unique(codes_HW[foreign])[:5]]
        raise DataError(
            f'{path}: {foreign.sum()} pixels have colors that palette does not name, such as '
            f'{", ".join(map(str, colors))}. Add them, with label_map={{place in the palette: 255}} where they are to '
            'be ignored. (A mask that was saved as JPEG or resized smoothly has mixed colors.)'
        )
    return index_HW.astype(np.uint8 if len(palette) <= 256 else np.uint16)
