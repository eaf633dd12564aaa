"""An example of what a segmentation pipeline gives; see :mod:`mmopt.datasets.common.example`."""

from collections.abc import Mapping

import torch

from mmopt.datasets.common.example import find_transform, image_size
from mmopt.structures import DataSample
from mmopt.structures.pixel_labels import label_type

__all__ = ['example_segmentation', 'host_bytes_segmentation']


def _size(config: Mapping, name: str) -> tuple[int, int]:
    crop = find_transform(config['pipeline'], 'RandomScaleCropFlip')
    return image_size(config['pipeline'], name) if crop is None else tuple(crop['crop_size'])


def _label_type(config: Mapping) -> torch.dtype:
    classes = (config.get('metainfo') or {}).get('classes') or ()
    return getattr(torch, label_type(len(classes)))


def example_segmentation(config: Mapping, name: str) -> dict:
    """Return a training sample: image, label, regions of the boundary loss where the pipeline makes them.

    Args:
        config: Part of a lowered config.
        name: The data set's, for errors.

    Returns:
        The sample.
    """
    pipeline = config['pipeline']
    height, width = _size(config, name)
    normalized = find_transform(pipeline, 'Normalize')
    sample = DataSample(metainfo={} if normalized is None else dict(img_norm_cfg=dict(normalized)))
    sample.label = torch.zeros(height, width, dtype=_label_type(config))
    if find_transform(pipeline, 'BoundaryRegions') is not None:
        sample.regions = torch.full((height, width), 3, dtype=torch.uint8)
    if find_transform(pipeline, 'DrawPhotometric') is not None:
        sample.photometric = torch.tensor([8.0, 1.2, 1.2, 4.0, 1.0])  # every step of the distortion runs
    dtype = torch.uint8 if normalized is None else torch.float32
    return dict(inputs=torch.zeros(3, height, width, dtype=dtype), data_samples=sample)


def host_bytes_segmentation(config: Mapping, name: str) -> dict[str, int]:
    """Return what a loader process holds per sample: a 2048x1024 image twice, its label and distances, and the crop."""
    height, width = _size(config, name)
    label = _label_type(config).itemsize
    return dict(sample=2048 * 1024 * (2 * 3 + label + 2) + 2 * height * width * (4 + label))
