"""Small models on random windows."""

import pytest
import torch

from mmopt.models.tad import FrameClassifier, IntervalDetector
from mmopt.structures import DataSample

ENCODER = dict(type='mmopt.ConvBiLSTM', in_channels=12, conv_channels=(8, 8), hidden_size=8)


def make_samples(*events: list, window: int = 200, num_frames: int | None = None) -> list[DataSample]:
    """Each list holds (start, stop, agent, target, action) of one sample."""
    samples = []
    for rows in events:
        sample = DataSample(metainfo=dict(window=(0, num_frames or window)))
        table = torch.tensor(rows, dtype=torch.float32).view(-1, 5)
        sample.segments = table[:, :2]
        sample.agents, sample.targets, sample.actions = table[:, 2:].long().T
        sample.labeled = torch.tensor([[0, 1, 0], [1, 0, 0], [0, 0, 1], [1, 1, 1]])
        samples.append(sample)
    return samples


def make_batch() -> dict:
    """Four windows: several events, one of a single frame, none, and a padded one."""
    samples = make_samples(
        [(10, 40, 0, 1, 0), (60, 61, 1, 1, 1), (100, 190, 1, 0, 0)],
        [(0, 200, 0, 0, 1)],
        [],
    ) + make_samples([(5, 50, 0, 1, 0)], num_frames=80)
    valid = torch.ones(4, 200, dtype=torch.bool)
    valid[3, 80:] = False
    features = torch.randn(4, 200, 12) * valid[..., None]
    return dict(inputs=dict(features=features, valid=valid), data_samples=samples)


@pytest.fixture
def batch() -> dict:
    return make_batch()


def build_v7(**changes) -> IntervalDetector:
    options = dict(encoder=ENCODER, num_classes=3, window=200, anchor_lengths=(10, 30, 100))
    return IntervalDetector(**(options | changes))


def build_v6(**changes) -> FrameClassifier:
    return FrameClassifier(**(dict(encoder=ENCODER | dict(pool=1), num_classes=3) | changes))
