"""Small detectors on random images."""

import pytest
import torch

from mmopt.models.detection import AnchorDetector
from mmopt.structures import DataSample

BACKBONE = dict(type='mmopt.CSPDarknet', depth=0.1, width=0.125)


def build(**changes) -> AnchorDetector:
    torch.manual_seed(0)
    options = dict(
        backbone=BACKBONE,
        neck=dict(type='mmopt.PathAggregation', depth=0.1),
        head=dict(type='mmopt.AnchorHead', num_classes=3),
    )
    return AnchorDetector(**(options | changes))


def make_samples(*boxes: list, size: tuple[int, int] = (96, 128)) -> list[DataSample]:
    """Each list holds (x1, y1, x2, y2, class) of one image."""
    samples = []
    for rows in boxes:
        sample = DataSample(metainfo=dict(img_shape=size))
        table = torch.tensor(rows, dtype=torch.float32).view(-1, 5)
        sample.boxes, sample.labels = table[:, :4], table[:, 4].long()
        samples.append(sample)
    return samples


def make_batch() -> dict:
    """Four images: several boxes, two drones in one place, none, and one that fills the image."""
    samples = make_samples(
        [(10, 10, 30, 25, 0), (60, 40, 110, 90, 1), (100, 5, 108, 14, 2)],
        [(20, 20, 40, 44, 1), (21, 20, 41, 44, 2)],
        [],
        [(0, 0, 128, 96, 0)],
    )
    return dict(inputs=torch.rand(4, 3, 96, 128), data_samples=samples)


@pytest.fixture
def batch() -> dict:
    return make_batch()
