"""Files to arrays. Every failure names the file and the reason; a half-written file is an error, not a gray area.

Measured on one core for street scenes of 1600x900: JPEG 2-5 ms, PNG 17-20 ms, so keep the JPEGs that the cameras
wrote. Asking OpenCV for RGB (from 4.11 on) gives the same values as a conversion, which writes another 4 MB per image;
its reduced decoding saves a third but is not exact.
"""

from pathlib import Path

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmopt.registry import TRANSFORMS
from mmopt.utils.errors import DataError, DataNotFoundError

__all__ = ['LoadImageFromFile', 'decode_file']

# What a complete file ends with (within its last bytes: padding and metadata may follow).
_END_MARKS = {b'\xff\xd8\xff': b'\xff\xd9', b'\x89PNG': b'IEND'}
_TAIL_BYTES = 65536
_DECODE_RGB: int | None = getattr(cv2, 'IMREAD_COLOR_RGB', None)


def decode_file(path: str, flags: int) -> np.ndarray:
    """Read and decode one image file.

    OpenCV decodes what is there of a truncated JPEG, fills the rest with gray and only prints a line; so the end mark
    is looked for first.

    Args:
        flags: OpenCV's ``IMREAD_*`` flags.

    Returns:
        The array as OpenCV decodes it: channels BGR.

    Raises:
        DataNotFoundError: If the file is not there.
        DataError: If it cannot be read, is truncated or is no image.
    """
    try:
        encoded = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise DataNotFoundError(f'{path}: no such file. Are data_root and data_prefix right?') from error
    except OSError as error:
        raise DataError(f'{path}: cannot be read: {error.strerror}.') from error
    if not encoded:
        raise DataError(f'{path}: the file is empty. Copy or make it again.')
    for magic, mark in _END_MARKS.items():
        # From the end: that is where it is; forwards through the tail takes longer than to decode a small label.
        if encoded.startswith(magic) and encoded.rfind(mark, max(len(encoded) - _TAIL_BYTES, 0)) < 0:
            raise DataError(f'{path}: the file is truncated after {len(encoded)} bytes. Copy or make it again.')
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error as error:
        raise DataError(f'{path}: OpenCV cannot decode it: {error.err}.') from error
    if image is None:
        raise DataError(f'{path}: not an image that OpenCV can decode (first bytes {encoded[:8]!r}).')
    return image


@TRANSFORMS.register_module()
class LoadImageFromFile(BaseTransform):
    """Load ``results['img_path']`` as uint8 RGB (H, W, 3).

    Sets ``img``, ``img_shape``, ``ori_shape`` and ``channel_order = 'rgb'``, which later transforms of mmopt read
    (mmcv's loader leaves BGR and says nothing).

    Args:
        to_float32: Convert to float32, values unchanged.
    """

    def __init__(self, to_float32: bool = False) -> None:
        self.to_float32 = to_float32

    def transform(self, results: dict) -> dict:
        """Add the image to ``results``."""
        if _DECODE_RGB is not None:
            img_HW3 = decode_file(results['img_path'], _DECODE_RGB)
        else:
            img_HW3 = cv2.cvtColor(decode_file(results['img_path'], cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        results['img'] = img_HW3.astype(np.float32) if self.to_float32 else img_HW3
        results['channel_order'] = 'rgb'
        results['img_shape'] = results['ori_shape'] = img_HW3.shape[:2]
        return results
