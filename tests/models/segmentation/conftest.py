"""A BiSeNetV2 of a few thousand parameters and batches of blocks with borders."""

import copy

import pytest
import torch

from mmopt.models.segmentation import BoundarySegmentor
from mmopt.registry import MODELS
from mmopt.structures import DataSample

NUM_CLASSES = 4
SMALL = dict(
    type='BoundarySegmentor',
    backbone=dict(type='BiSeNetV2', detail_channels=(8, 8, 16), semantic_channels=(4, 8, 8, 16), expansion=2),
    head=dict(type='SegmentationHead', in_channels=16, channels=16, num_classes=NUM_CLASSES),
    auxiliary_heads=dict(
        stem=dict(type='SegmentationHead', in_channels=4, channels=8, num_classes=NUM_CLASSES, refine_channels=4),
        s5=dict(type='SegmentationHead', in_channels=16, channels=8, num_classes=NUM_CLASSES, refine_channels=8),
    ),
)
POINTS = dict(type='PointHead', in_channels=8, num_classes=NUM_CLASSES, channels=16, num_points=32)


@pytest.fixture(autouse=True)
def _one_thread():
    # Thousands of tiny kernels: threads that wait for each other cost more than they give.
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)


def build(**changes) -> BoundarySegmentor:
    return MODELS.build(copy.deepcopy(SMALL) | changes)


def make_samples(count: int = 3, height: int = 64, width: int = 96) -> list[DataSample]:
    """Blocks of 16x16 pixels of one class; the share of ignored pixels grows from sample to sample."""
    samples = []
    for index in range(count):
        blocks = torch.randint(0, NUM_CLASSES, (height // 16, width // 16), dtype=torch.uint8)
        label = blocks.repeat_interleave(16, 0).repeat_interleave(16, 1)
        label[: 12 * index] = 255
        border = torch.zeros(height, width, dtype=torch.uint8)
        border[:, ::16] = 0b11
        border[1::3] |= 0b10
        samples.append(DataSample(label=label, regions=border))
    return samples


def make_batch(count: int = 3, height: int = 64, width: int = 96) -> dict:
    samples = make_samples(count, height, width)
    # The image shows the label, with noise.
    colors = torch.randn(256, 3)
    inputs = torch.stack([colors[sample.label.long()].permute(2, 0, 1) for sample in samples])
    return dict(inputs=inputs + 0.3 * torch.randn_like(inputs), data_samples=samples)
