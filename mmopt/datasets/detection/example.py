"""An example of what a detection pipeline gives; see :mod:`mmopt.datasets.common.example`."""

from collections.abc import Mapping

import torch

from mmopt.datasets.common.example import find_transform
from mmopt.structures import DataSample
from mmopt.utils.errors import UserError

__all__ = ['example_detection', 'host_bytes_detection']

_NUM_BOXES = 32
"""Boxes of an image unless told: two mosaics, mixed, of four images with four drones each."""


def _size(config: Mapping, name: str) -> tuple[int, int]:
    letterbox = find_transform(config['pipeline'], 'RandomLetterbox', 'Letterbox')
    if letterbox is None:
        raise UserError(f'{name}: its pipeline has no Letterbox, so that only the files know the image size.')
    size = letterbox['size']
    return (size, size) if isinstance(size, int) else tuple(size)


def _num_channels(config: Mapping) -> int:
    loads_pairs = find_transform(config['pipeline'], 'LoadImagePair') is not None
    return 6 if loads_pairs else 3


def example_detection(config: Mapping, name: str, max_items: int | None = None) -> dict:
    """Return a training sample with boxes of all sizes, spread over the image.

    Args:
        config: Part of a lowered config.
        name: The data set's, for errors.
        max_items: Boxes; 32 unless given.

    Returns:
        The sample.
    """
    (height, width), num_boxes = _size(config, name), _NUM_BOXES if max_items is None else max_items
    sample = DataSample(metainfo=dict(img_shape=(height, width), is_mosaic=True, is_mixed=True))
    # From 4 pixels to a third of the image, so that every level of a pyramid has its share of positives.
    side = 4 * (min(height, width) / 12) ** (torch.arange(num_boxes) / max(num_boxes - 1, 1))
    corner = (torch.arange(num_boxes) * 0.618 % 1)[:, None] * (torch.tensor([width, height]) - side[:, None])
    sample.boxes = torch.cat((corner, corner + side[:, None]), dim=1).float()
    sample.labels = torch.zeros(num_boxes, dtype=torch.int64)
    if find_transform(config['pipeline'], 'DrawHSV', 'DrawPhotometric') is not None:
        sample.photometric = torch.tensor([0.0, 1.2, 1.2, 1.0, 1.0])
    return dict(inputs=torch.zeros(_num_channels(config), height, width, dtype=torch.uint8), data_samples=sample)


def host_bytes_detection(config: Mapping, name: str) -> dict[str, int]:
    """Return what a loader process holds per sample: eight decoded 1280x720 images of a mixed mosaic, and canvases."""
    (height, width), channels = _size(config, name), _num_channels(config)
    num_images = 8 if find_transform(config['pipeline'], 'Mosaic') is not None else 1
    return dict(sample=num_images * 1280 * 720 * channels + 3 * height * width * channels)
