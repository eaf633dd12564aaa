"""Loading and packing of bird's-eye-view samples.

Shape letters: Z = 196 rows (nearest first), X = 200 columns (from -25 m), cells of 0.25 m.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmopt.datasets.common.loading import decode_file
from mmopt.datasets.common.transforms import pack_inputs
from mmopt.registry import TRANSFORMS
from mmopt.utils.errors import DataError

__all__ = ['LABEL_SHAPE', 'LoadBEVLabel', 'PackBEVInputs']

LABEL_SHAPE = (196, 200)
"""Rows (z) and columns (x) of a label image."""

_NUM_BITS = 15  # 14 classes and *ignore*


@TRANSFORMS.register_module()
class LoadBEVLabel(BaseTransform):
    """Load ``results['label_path']`` as ``label_bits``, int32 (Z, X), exactly as on disk.

    Bit c is class c, bit 14 is *ignore* (not inverted: the device decodes the bits, 20 times fewer bytes to move than
    15 maps of floats). The camera matrix ``intrinsics`` that the data set put beside it travels with the sample, too.
    """

    def transform(self, results: dict) -> dict:
        """Add the label to ``results``."""
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
        results['fields'] += ['label_bits', 'intrinsics']
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
        if 'label_bits' not in results['fields']:
            raise ValueError('PackBEVInputs: the sample has no label; put LoadBEVLabel before it in the pipeline.')
        return pack_inputs(results, self.meta_keys)
