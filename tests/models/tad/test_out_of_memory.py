"""The guide's ladder for a card that is too small, 48 -> 32 -> 24 -> 16 with accumulation, without a hand on it."""

import logging

import pytest
import torch
from mmengine.config import Config

from mmopt.config import lower
from mmopt.engine.loops.step import TrainStep
from mmopt.engine.micro_batch import AutoMicroBatchStep
from mmopt.engine.optim import OptimWrapper
from mmopt.models.tad import IntervalDetector
from tests.conftest import REPO
from tests.models.tad.conftest import ENCODER, make_samples

GROUP_NORM = ENCODER | dict(norm_cfg=dict(type='GN', num_groups=4), dropout=0.0)


class HungryDetector(IntervalDetector):
    """V7 on a card that holds ``capacity`` windows; parts have no other statistics than the whole batch."""

    capacity = 48

    def __init__(self) -> None:
        super().__init__(encoder=GROUP_NORM, num_classes=3, window=40, anchor_lengths=(10, 30), dropout=0.0)
        self.attempts: list[int] = []

    def forward(self, inputs, data_samples=None, mode='tensor', normalizers=None):
        losses = super().forward(inputs, data_samples, mode, normalizers)
        self.attempts.append(len(data_samples))
        if len(data_samples) > self.capacity:
            raise torch.OutOfMemoryError('CUDA out of memory.')
        return losses


def windows(count: int) -> dict:
    generator = torch.Generator().manual_seed(1)
    samples = make_samples(*([(b % 20, b % 20 + 5 + b % 11, 0, 1, 0)] * (b % 4 > 0) for b in range(count)), window=40)
    features = torch.randn(count, 40, 12, generator=generator)
    return dict(inputs=dict(features=features, valid=torch.ones(count, 40, dtype=torch.bool)), data_samples=samples)


def stepped(step_of, capacity: int) -> HungryDetector:
    """Take one step from the same start."""
    torch.manual_seed(0)
    model = HungryDetector().train()
    model.capacity = capacity
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    wrapper.initialize_count_status(model, 0, 1)
    step_of(model, wrapper)(windows(48))
    return model


@pytest.mark.parametrize('capacity', [48, 32, 24, 16])
def test_a_batch_of_48_steps_down_to_what_fits_and_its_step_stays_the_same(capacity):
    expected = stepped(TrainStep, 48)
    model = stepped(lambda *args: AutoMicroBatchStep(*args, logging.getLogger('tad')), capacity)
    sizes = [48, *([24] * (capacity < 48)), *([12] * (capacity < 24))]
    assert list(dict.fromkeys(model.attempts)) == sizes
    assert model.attempts[len(sizes) - 1 :] == [sizes[-1]] * (48 // sizes[-1])
    assert sizes[-1] <= capacity
    for got, want in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(('name', 'batch'), [('v7_mabe_5090', 32), ('v7_mabe_5090_max', 48), ('v6_mabe', 96)])
def test_the_baselines_step_down_by_themselves(name, batch):
    cfg = lower(Config.fromfile(REPO / 'configs' / 'baseline' / f'tad_{name}.py').to_dict())
    assert cfg['optimize']['micro_batch'] == 'auto'
    assert cfg['train_dataloader']['batch_size'] == batch
