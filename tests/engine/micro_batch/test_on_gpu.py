"""The same on a CUDA device whose memory is cut to that of a small card."""

import logging

import pytest
import torch
from torch import nn

from mmopt.engine.loops.step import TrainStep
from mmopt.engine.micro_batch import AutoMicroBatchStep
from mmopt.engine.optim import OptimWrapper
from mmopt.utils.memory import GIB
from tests.engine.test_runner import assert_same

pytestmark = pytest.mark.gpu
NUM_SAMPLES = 16


class Pictures(nn.Module):
    """Keeps about 200 MiB per sample."""

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Conv2d(3, 64, 3, padding=1)]
        for _ in range(2):
            layers += [nn.BatchNorm2d(64), nn.ReLU(), nn.Dropout(0.1), nn.Conv2d(64, 64, 3, padding=1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, inputs, mode='loss', normalizers=None):
        return dict(loss=self.layers(inputs).square().mean())


@pytest.fixture
def small_card():
    """A card of 2 GiB, deterministic."""
    device = torch.device('cuda', torch.cuda.current_device())
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(2 * GIB / torch.cuda.get_device_properties(device).total_memory)
    # What earlier tests reserved is not this one's.
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    # A benchmark chooses by what is free at that moment: not the same kernels after an attempt that failed.
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    yield device
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def train(device, make_step, num_iters: int = 3) -> tuple[nn.Module, TrainStep]:
    torch.manual_seed(0)
    model = Pictures().to(device)
    wrapper = OptimWrapper(torch.optim.AdamW(model.parameters(), lr=1e-3), accumulative_counts=2)
    wrapper.initialize_count_status(model, 0, num_iters)
    step = make_step(model, wrapper)
    torch.manual_seed(1)
    batch = torch.rand(NUM_SAMPLES, 3, 320, 320, device=device)
    for _ in range(num_iters):
        step(dict(inputs=batch))
    return model, step


def test_a_batch_that_a_small_card_cannot_hold_trains_bit_equal_to_one_that_started_smaller(small_card):
    auto, step = train(small_card, lambda *args: AutoMicroBatchStep(*args, logging.getLogger('gpu')))
    size = step.state.size
    assert size is not None
    assert size < NUM_SAMPLES
    small, _ = train(small_card, lambda *args: TrainStep(*args, micro_batch=size))
    assert_same(small.state_dict(), auto.state_dict())
    assert torch.cuda.max_memory_reserved(small_card) <= 2 * GIB
