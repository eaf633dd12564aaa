"""Loading and augmentation of labeled images.

Shape letters: H W image and label.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmopt.datasets.common.decode import exif_orientation
from mmopt.datasets.segmentation.borders import NO_BORDER, border_regions
from mmopt.datasets.segmentation.distance_cache import distance_map
from mmopt.datasets.segmentation.masks import read_label
from mmopt.registry import TRANSFORMS
from mmopt.structures.pixel_labels import ignored_label
from mmopt.utils.errors import DataError

__all__ = ['BoundaryRegions', 'LoadBorderDistance', 'LoadSegmentationLabel', 'RandomScaleCropFlip']


@TRANSFORMS.register_module()
class LoadSegmentationLabel(BaseTransform):
    """Load ``results['label_path']`` as ``label`` (H, W); see :mod:`mmopt.datasets.segmentation.masks`.

    ``results['label_table']`` maps values of the file to classes; ``results['mask_palette']`` names the colors of a
    mask that holds colors.
    """

    loads_truth = True  # left out where pictures without labels are predicted

    def transform(self, results: dict) -> dict:
        """Add the label to ``results``."""
        path = results['label_path']
        label_HW = read_label(path, results['label_table'], results.get('mask_palette'))
        if 'img' in results:
            self._check_image(label_HW, results)
        results['label'] = label_HW
        results['fields'].append('label')
        return results

    def _check_image(self, label_HW: np.ndarray, results: dict) -> None:
        path, img_path = results['label_path'], results['img_path']
        with open(img_path, 'rb') as file:
            orientation = exif_orientation(file.read(65536))
        if orientation != 1:
            raise DataError(
                f'{img_path}: its EXIF orientation {orientation} says that it is displayed turned, and its mask {path} '
                'has no such mark: nobody knows which way up that is. Turn the pixels and drop the mark: '
                '`mogrify -auto-orient` or `exiftran -ai`.'
            )
        if label_HW.shape != results['img'].shape[:2]:
            height, width = results['img'].shape[:2]
            raise DataError(
                f'{path}: the mask is {label_HW.shape[1]}x{label_HW.shape[0]}, its image {img_path} is '
                f'{width}x{height} (width x height); they must agree.'
            )


@TRANSFORMS.register_module()
class LoadBorderDistance(BaseTransform):
    """Add the distance of every pixel to the nearest class border, made once per label and kept on disk.

    Sets ``border_distance`` (uint16, see :mod:`mmopt.datasets.segmentation.borders`) and ``largest_distance``. Place it
    right after the label: it belongs to the label as loaded, and augmentation moves it along.

    Args:
        cache_dir: Folder of the maps, absolute or relative to the data root; 2 bytes per pixel and label. None computes
            the maps each time.
    """

    loads_truth = True  # left out where pictures without labels are predicted

    def __init__(self, cache_dir: str | None = 'cache/distance') -> None:
        self.cache_dir = cache_dir

    def transform(self, results: dict) -> dict:
        """Add the map to ``results``."""
        if 'label' not in results:
            raise ValueError('LoadBorderDistance: the sample has no label; put LoadSegmentationLabel before it.')
        folder = None if self.cache_dir is None else Path(results.get('data_root', ''), self.cache_dir)
        results['border_distance'], results['largest_distance'] = distance_map(results['label'], folder)
        return results


@TRANSFORMS.register_module()
class RandomScaleCropFlip(BaseTransform):
    """Scale, crop, mirror and pad image, label and distances at once: only the pixels of the crop are computed.

    What lies outside the image is ignored, and gray.

    Args:
        crop_size: Height and width of the result.
        scale_range: Smallest and largest factor of the size, drawn uniformly.
        flip_prob: Probability of a mirror image.
        pad_value: Gray level outside the image: about the mean, which normalizes to 0.

    Raises:
        ValueError: If the size or the range of factors is none.
    """

    def __init__(
        self,
        crop_size: tuple[int, int],
        scale_range: Sequence[float] = (0.25, 2.0),
        flip_prob: float = 0.5,
        pad_value: int = 114,
    ) -> None:
        if not isinstance(crop_size, Sequence) or len(crop_size) != 2 or min(crop_size) < 1:
            raise ValueError(f'RandomScaleCropFlip: crop_size is a height and a width in pixels, got {crop_size!r}.')
        if not 0 < scale_range[0] <= scale_range[1]:
            raise ValueError(f'RandomScaleCropFlip: scale_range must be 0 < smallest <= largest, got {scale_range}.')
        self.crop_size = tuple(crop_size)
        self.scale_range = tuple(scale_range)
        self.flip_prob = flip_prob
        self.pad_value = pad_value

    def transform(self, results: dict) -> dict:
        """Augment ``results``."""
        rng = results['rng']
        # Always four numbers, so that no draw depends on the size of an image.
        unit_scale, unit_top, unit_left, coin = rng.random(4)
        low, high = self.scale_range
        scale = low + (high - low) * unit_scale
        height, width = results['img'].shape[:2]
        crop_height, crop_width = self.crop_size
        tall, wide = round(height * scale), round(width * scale)
        top = int(unit_top * (max(tall - crop_height, 0) + 1))
        left = int(unit_left * (max(wide - crop_width, 0) + 1))
        flips = coin < self.flip_prob
        matrix = _crop_to_image(scale, top, left, crop_width if flips else None)

        def warp(image: np.ndarray, interpolation: int, outside: int) -> np.ndarray:
            flags = interpolation | cv2.WARP_INVERSE_MAP
            border = (outside,) * 3 if image.ndim == 3 else outside
            return cv2.warpAffine(
                image,
                matrix,
                (crop_width, crop_height),
                flags=flags,
                borderMode=cv2.BORDER_CONSTANT,
                borderValue=border,
            )

        results['img'] = warp(results['img'], cv2.INTER_LINEAR, self.pad_value)
        results['img_shape'] = self.crop_size
        if 'label' in results:
            results['label'] = warp(results['label'], cv2.INTER_NEAREST, ignored_label(results['label'].dtype))
        if 'border_distance' in results:
            results['border_distance'] = warp(np.asarray(results['border_distance']), cv2.INTER_NEAREST, NO_BORDER)
            results['distance_scale'] = results.get('distance_scale', 1.0) * scale
        return results


def _crop_to_image(scale: float, top: int, left: int, flipped_width: int | None) -> np.ndarray:
    """Map a pixel (x, y) of the crop to the image, pixel centers at whole numbers: (2, 3)."""
    matrix_33 = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float64)
    if flipped_width is not None:
        matrix_33[0] = (-1, 0, flipped_width - 1)
    shift = np.array([[1, 0, left], [0, 1, top], [0, 0, 1]], np.float64)
    # Of the centers: (x + 0.5) / scale - 0.5.
    offset = 0.5 / scale - 0.5
    shrink = np.array([[1 / scale, 0, offset], [0, 1 / scale, offset], [0, 0, 1]], np.float64)
    return (shrink @ shift @ matrix_33)[:2]


@TRANSFORMS.register_module()
class BoundaryRegions(BaseTransform):
    """Turn distances into the regions of the boundary loss and of the edge metrics, one byte per pixel.

    Sets ``regions``, uint8 (H, W): bit 0 is the band around borders, bit 1 where the normalized distance is small.

    Args:
        edge_width: Pixels of the band on either side of a border, at the size of the result.
        near: Normalized distance (1 is the largest of the whole image) below which a pixel is near.
    """

    loads_truth = True  # left out where pictures without labels are predicted

    def __init__(self, edge_width: int = 2, near: float = 0.3) -> None:
        if edge_width < 1 or not 0 < near <= 1:
            raise ValueError(f'BoundaryRegions: edge_width >= 1 and 0 < near <= 1, got {edge_width} and {near}.')
        self.edge_width = edge_width
        self.near = near

    def transform(self, results: dict) -> dict:
        """Replace the distances in ``results`` by the regions."""
        if 'border_distance' not in results:
            raise ValueError('BoundaryRegions: the sample has no distances; put LoadBorderDistance before it.')
        results['regions'] = border_regions(
            np.asarray(results.pop('border_distance')),
            results['largest_distance'],
            edge_width=self.edge_width,
            near=self.near,
            scale=results.get('distance_scale', 1.0),
        )
        results['fields'].append('regions')
        return results
