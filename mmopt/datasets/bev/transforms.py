"""Loading and packing of bird's-eye-view samples.

Shape letters: Z = 196 rows (nearest first), X = 200 columns (from -25 m), cells of 0.25 m.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmopt.datasets.common.decode import decode_file
from mmopt.datasets.common.transforms import pack_inputs
from mmopt.registry import TRANSFORMS
from mmopt.utils.errors import DataError

__all__ = ['LABEL_SHAPE', 'CropRows', 'LoadBEVLabel', 'PackBEVInputs', 'RandomMirror']

LABEL_SHAPE = (196, 200)
"""Rows (z) and columns (x) of a label image."""

_NUM_BITS = 15  # 14 classes and *ignore*


@TRANSFORMS.register_module()
class LoadBEVLabel(BaseTransform):
    """Load ``results['label_path']`` as ``label_bits``, int32 (Z, X), exactly as on disk.

    Bit c is class c, bit 14 is *ignore* (not inverted: the device decodes the bits, 20 times fewer bytes to move than
    15 maps of floats). The camera matrix ``intrinsics`` that the data set put beside it travels with the sample, too.
    A picture that is predicted has no label: its camera matrix alone travels.
    """

    def transform(self, results: dict) -> dict:
        """Add the label to ``results``."""
        results['fields'].append('intrinsics')
        if 'label_path' not in results:
            return results
        path = results['label_path']
        label_ZX = decode_file(path, cv2.IMREAD_UNCHANGED)
        if label_ZX.shape != LABEL_SHAPE or label_ZX.dtype != np.uint16:
            raise DataError(
                f'{path}: a BEV label is one 16-bit channel of {LABEL_SHAPE[0]}x{LABEL_SHAPE[1]} (rows x columns), '
                f'this is {label_ZX.dtype} of {"x".join(map(str, label_ZX.shape))}. '
                'Make it with tools/datasets/prepare_nuscenes.py.'
            )
        if label_ZX.max() >= 1 << _NUM_BITS:
            raise DataError(
                f'{path}: bit 15 is set, but a BEV label has bits 0-13 (classes) and 14 (ignore) only. '
                'It was written in another byte order, or for other classes.'
            )
        results['label_bits'] = label_ZX.astype(np.int32)
        results['fields'].append('label_bits')
        return results


@TRANSFORMS.register_module()
class CropRows(BaseTransform):
    """Keep a band of image rows; the camera matrix moves with them.

    Above the horizon there is no ground, and the lowest rows show the few cells right before the car: put before a
    resize, the crop gives the far ground, which is most of the map, more of the network's rows. Lift-Splat-Shoot crops
    the top of its images likewise.

    Args:
        start: Upper edge of the band, as a share of the image's height.
        stop: Lower edge, excluded.

    Raises:
        ValueError: If not 0 <= start < stop <= 1.
    """

    def __init__(self, start: float = 0.0, stop: float = 1.0) -> None:
        if not 0 <= start < stop <= 1:
            raise ValueError(
                f'CropRows: start and stop are shares of the height with 0 <= start < stop <= 1, got {start!r} and '
                f'{stop!r}.'
            )
        self.start, self.stop = start, stop

    def transform(self, results: dict) -> dict:
        """Crop the image of ``results``."""
        height = results['img'].shape[0]
        first, last = round(self.start * height), round(self.stop * height)
        results['img'] = results['img'][first:last]
        results['img_shape'] = results['img'].shape[:2]
        moved_33 = np.array(results['intrinsics'], np.float32)
        moved_33[1, 2] -= first
        results['intrinsics'] = moved_33
        return results


@TRANSFORMS.register_module()
class RandomMirror(BaseTransform):
    """Mirror a sample left to right: image, label and camera matrix.

    Raises:
        ValueError: If ``prob`` is no probability.
    """

    def __init__(self, prob: float = 0.5) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f'RandomMirror: prob must be between 0 and 1, got {prob!r}.')
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """Mirror ``results``, or leave them."""
        if results['rng'].random() >= self.prob:
            return results
        results['img'] = np.ascontiguousarray(results['img'][:, ::-1])
        # The grid reaches as far to the left as to the right.
        results['label_bits'] = np.ascontiguousarray(results['label_bits'][:, ::-1])
        mirrored_33 = np.array(results['intrinsics'], np.float32)
        mirrored_33[0, 2] = results['img'].shape[1] - 1 - mirrored_33[0, 2]
        results['intrinsics'] = mirrored_33
        return results


@TRANSFORMS.register_module()
class PackBEVInputs(BaseTransform):
    """Pack an image with its BEV label.

    The DataSample has ``label_bits`` int32 (Z, X), ``intrinsics`` float32 (3, 3) of the *resized* image and, where the
    pipeline drew them, ``photometric`` float32 (P,).

    Args:
        meta_keys: Further keys to keep in the metainfo.
    """

    def __init__(self, meta_keys: Sequence[str] = ()) -> None:
        self.meta_keys = tuple(meta_keys)

    def transform(self, results: dict) -> dict:
        """Pack ``results``."""
        if 'intrinsics' not in results['fields']:
            raise ValueError('PackBEVInputs: the sample has no label; put LoadBEVLabel before it in the pipeline.')
        return pack_inputs(results, self.meta_keys)
