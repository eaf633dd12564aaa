"""Images of a sample."""

import warnings

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmopt.datasets.common.decode import bits_per_value, decode, read_encoded
from mmopt.registry import TRANSFORMS

__all__ = ['LoadImageFromFile']

# Asking OpenCV for RGB (from 4.11 on) gives the same values as a conversion, which writes another 4 MB per image.
_DECODE_RGB: int | None = getattr(cv2, 'IMREAD_COLOR_RGB', None)
_DEEP = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH


@TRANSFORMS.register_module()
class LoadImageFromFile(BaseTransform):
    """Load ``results['img_path']`` as uint8 RGB (H, W, 3).

    An RGB image that is there already (``results['img']``, of a prediction) is taken instead of the file.

    Sets ``img``, ``img_shape``, ``ori_shape`` and ``channel_order = 'rgb'``, which later transforms of mmopt read
    (mmcv's loader leaves BGR and says nothing).

    Files of 16 bits (thermal cameras, microscopes) are brought to 8: by their upper half, unless ``value_range`` says
    which values they use. A warning says so where that leaves less than a quarter of the 256 values.

    Args:
        to_float32: Convert to float32, values unchanged.
        value_range: Values of a 16-bit file that become 0 and 255; ``(0, 4095)`` for a camera of 12 bits. What lies
            outside is clipped. Files of 8 bits stay as they are.

    Raises:
        ValueError: If ``value_range`` is no range.
    """

    def __init__(self, to_float32: bool = False, value_range: tuple[float, float] | None = None) -> None:
        if value_range is not None and not (len(value_range) == 2 and value_range[0] < value_range[1]):
            raise ValueError(f'value_range must be two numbers, the lower first, such as (0, 4095); got {value_range}.')
        self.to_float32 = to_float32
        self.value_range = value_range

    def transform(self, results: dict) -> dict:
        """Add the image to ``results``."""
        img_HW3 = results['img'] if 'img' in results else self._read(results['img_path'])
        results['img'] = img_HW3.astype(np.float32) if self.to_float32 else img_HW3
        results['channel_order'] = 'rgb'
        results['img_shape'] = results['ori_shape'] = img_HW3.shape[:2]
        return results

    def _read(self, path: str) -> np.ndarray:
        encoded = read_encoded(path)
        if bits_per_value(encoded) > 8:
            return self._to_8_bits(path, cv2.cvtColor(decode(path, encoded, _DEEP), cv2.COLOR_BGR2RGB))
        if _DECODE_RGB is not None:
            return decode(path, encoded, _DECODE_RGB)
        return cv2.cvtColor(decode(path, encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)

    def _to_8_bits(self, path: str, deep_HW3: np.ndarray) -> np.ndarray:
        if self.value_range is not None:
            low, high = self.value_range
            scaled = (deep_HW3.astype(np.float32) - low) * (255.0 / (high - low))
            return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
        image_HW3 = (deep_HW3 // 256).astype(np.uint8)
        low, high = int(deep_HW3.min()), int(deep_HW3.max())
        if int(image_HW3.max()) - int(image_HW3.min()) < 64:
            warnings.warn(
                f'{path}: its values of 16 bits lie between {low} and {high}, of which 8 bits leave {low // 256} to '
                f'{high // 256}. Say which values the pictures use: LoadImageFromFile(value_range=(0, 4095)) for a '
                'camera of 12 bits.',
                stacklevel=2,
            )
        return image_HW3
