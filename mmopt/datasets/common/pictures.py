"""Parts of pictures that every task needs: an image out of a pipeline as uint8, text, a sheet of pictures.

Pictures are uint8 RGB arrays (H, W, 3).
"""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from mmopt.structures import DataSample
from mmopt.utils.picture_text import text_size, write_text

__all__ = ['contact_sheet', 'text_size', 'to_uint8_image', 'write_text']


def to_uint8_image(image: Tensor | np.ndarray, sample: DataSample) -> np.ndarray:
    """Turn an image of a pipeline back into one that people can look at.

    Args:
        image: uint8 (H, W, 3) RGB, which is returned as it is; or packed ``inputs`` (3, H, W), uint8, or float when
            the pipeline has normalized it.
        sample: Its sample; ``img_norm_cfg`` in the metainfo says how it was normalized.

    Returns:
        The image as uint8 (H, W, 3) RGB.

    Raises:
        ValueError: If the image is float and nothing tells how it was normalized.
    """
    if isinstance(image, Tensor):
        image = image.detach().cpu().numpy()
    if image.ndim == 3 and image.shape[0] == 3 and image.shape[-1] != 3:
        image = image.transpose(1, 2, 0)
    if image.dtype != np.uint8:
        norm = sample.get('img_norm_cfg')
        if norm is None:
            raise ValueError(
                f'Cannot show an image of type {image.dtype}: its sample has no img_norm_cfg. Pass a uint8 image, or '
                'keep img_norm_cfg in the metainfo (the packing transforms do).'
            )
        image = image.astype(np.float32) * np.asarray(norm['std'], np.float32) + np.asarray(norm['mean'], np.float32)
        image = np.clip(np.rint(image if norm['to_rgb'] else image[..., ::-1]), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(image)


def contact_sheet(pictures: Sequence[np.ndarray], num_columns: int = 2, gap: int = 12, max_width: int = 2400):
    """Arrange pictures in rows of ``num_columns``, all scaled to one width.

    Args:
        pictures: uint8 (H, W, 3), at least one.
        num_columns: Pictures per row; fewer where there are fewer pictures.
        gap: Pixels between pictures and around the sheet.
        max_width: The sheet is scaled down to at most about this many pixels.

    Returns:
        The sheet, uint8 (H', W', 3).
    """
    import cv2

    num_columns = min(num_columns, len(pictures))
    width = min(max(picture.shape[1] for picture in pictures), (max_width - gap) // num_columns - gap)
    scaled = [
        cv2.resize(picture, (width, round(picture.shape[0] * width / picture.shape[1])), interpolation=cv2.INTER_AREA)
        for picture in pictures
    ]
    rows = [scaled[start : start + num_columns] for start in range(0, len(scaled), num_columns)]
    heights = [max(picture.shape[0] for picture in row) for row in rows]
    sheet = np.full((sum(heights) + gap * (len(rows) + 1), num_columns * (width + gap) + gap, 3), 16, np.uint8)
    top = gap
    for row, height in zip(rows, heights, strict=True):
        for column, picture in enumerate(row):
            left = gap + column * (width + gap)
            sheet[top : top + picture.shape[0], left : left + width] = picture
        top += height + gap
    return sheet
