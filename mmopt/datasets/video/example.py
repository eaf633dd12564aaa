"""An example of what the driver pipeline gives; see :mod:`mmopt.datasets.common.example`."""

from collections.abc import Mapping

import torch

from mmopt.datasets.common.example import find_transform
from mmopt.datasets.video.layout import DRIVER_VIEWS
from mmopt.structures import DataSample

__all__ = ['example_driver', 'host_bytes_driver']

_FRAME_BYTES = 1920 * 1080 * 3
_FRAMES_PER_OPEN_VIDEO = 12  # what a decoder keeps for its own reference


def _shape(config: Mapping) -> tuple[int, int, int]:
    size = config.get('img_size', 224)
    height, width = (size, size) if isinstance(size, int) else size
    return config.get('uniform_temporal_subsample_num', 8), height, width


def example_driver(config: Mapping) -> dict:
    """Return a training sample: a clip of every view, keypoints, or both, as the config asks.

    Args:
        config: Part of a lowered config.

    Returns:
        The sample.
    """
    frames, height, width = _shape(config)
    inputs = {}
    if config.get('load_rgb', True):
        for view in config.get('views', DRIVER_VIEWS):
            inputs[view] = torch.zeros(3, frames, height, width, dtype=torch.uint8)
    if config.get('load_kpt', False):
        loading = find_transform(config.get('pipeline', ()), 'LoadDriverClip') or {}
        inputs['keypoints'] = torch.zeros(frames, loading.get('num_points', 52), 3)
    sample = DataSample()
    sample.label = torch.tensor(0)
    return dict(inputs=inputs, data_samples=sample)


def host_bytes_driver(config: Mapping) -> dict[str, int]:
    """Return what a loader process holds: open decoders at full size, clips; and one full frame of all views."""
    frames, height, width = _shape(config)
    num_views = len(config.get('views', DRIVER_VIEWS)) if config.get('load_rgb', True) else 0
    decoders = num_views * _FRAMES_PER_OPEN_VIDEO * _FRAME_BYTES
    clips = 2 * num_views * frames * height * width * 3
    # Chunks are counted in frames of the network's size: that is what a cache of a chunk would hold.
    return dict(sample=decoders + clips, frame=num_views * height * width * 3 or 1)
