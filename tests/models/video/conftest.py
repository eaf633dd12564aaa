"""Tiny recognizers on random clips of three views."""

import pytest
import torch

from mmopt.models.video import MultiViewRecognizer
from mmopt.structures import DataSample

ENCODERS = dict(
    conv3d=dict(type='mmopt.SlowOnly', depths=(1, 1), inflate=(False, True), base_channels=4),
    transformer=dict(type='mmopt.VideoTransformer', channels=16, depth=2, num_heads=2, strides=(4, 2)),
    mamba=dict(type='mmopt.VideoMamba', channels=16, depth=2, num_states=4, strides=(4, 2), scan_chunk=16),
)
KEYPOINTS = dict(type='mmopt.STGCN', channels=(8, 8), kernel_size=3)
VIEWS = ('front', 'left', 'right')


def build(encoder: str | dict | None = 'transformer', *, keypoints: bool = False, **changes) -> MultiViewRecognizer:
    options = dict(num_classes=5, encoder=ENCODERS[encoder] if isinstance(encoder, str) else encoder)
    options |= dict(keypoint_encoder=KEYPOINTS if keypoints else None)
    return MultiViewRecognizer(**(options | changes))


def make_batch() -> dict:
    """Four clips of four frames; the label of the third is unknown."""
    inputs = {view: torch.rand(4, 3, 4, 32, 32) for view in VIEWS}
    inputs['keypoints'] = torch.randn(4, 4, 52, 3)
    samples = []
    for label in (0, 4, -1, 2):
        sample = DataSample()
        sample.label = torch.tensor(label)
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


@pytest.fixture
def batch() -> dict:
    return make_batch()
