"""What each of two ranks checks about micro-batches; called by `tests.engine.ddp_worker`."""

import logging

import pytest
import torch
from mmengine.dist import get_rank
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mmopt.datasets.common import stack_collate
from mmopt.engine.loops.step import TrainStep
from mmopt.engine.micro_batch import AutoMicroBatchStep, MicroBatchState
from mmopt.engine.optim import OptimWrapper
from mmopt.utils.errors import UserError
from tests.engine.micro_batch.hungry import HungryModel
from tests.engine.toy import ToyDataset

LOGGER = logging.getLogger('micro_batch')


class UnevenModel(HungryModel):
    """One parameter has a gradient on rank 0 only."""

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.norm = nn.LayerNorm(16)  # BatchNorm of vectors refuses parts of one sample
        self.only_on_rank_0 = nn.Parameter(torch.ones(1))

    def forward(self, *args, **kwargs):
        losses = super().forward(*args, **kwargs)
        if get_rank() == 0:
            losses['loss_extra'] = self.only_on_rank_0.square().sum()
        return losses


def _train(make_step, **model_args) -> tuple[dict, HungryModel]:
    """Two steps of two accumulated iterations; ranks draw other samples, rank 1 one fewer."""
    torch.manual_seed(3)
    model = UnevenModel(**model_args)
    ddp = DistributedDataParallel(model, find_unused_parameters=True, broadcast_buffers=False)
    wrapper = OptimWrapper(torch.optim.AdamW(model.parameters(), lr=0.05), accumulative_counts=2)
    wrapper.initialize_count_status(model, 0, 4)
    step = make_step(ddp, wrapper)
    dataset = ToyDataset(length=24)
    torch.manual_seed(4 + get_rank())
    for start in range(4):
        indices = range(start + 8 * get_rank(), start + 8 * get_rank() + 4 - get_rank())
        step(stack_collate([dataset[index] for index in indices]))
    return {name: value.clone() for name, value in model.named_parameters()}, model


def assert_a_rank_that_fails_leaves_nobody_waiting() -> None:
    starts_small, _ = _train(lambda *args: AutoMicroBatchStep(*args, LOGGER, MicroBatchState(size=2)))
    plain, _ = _train(lambda *args: TrainStep(*args, micro_batch=2))
    for place in ('forward', 'backward'):
        capacity = 2 if get_rank() == 1 else 99
        weights, model = _train(lambda *args: AutoMicroBatchStep(*args, LOGGER), capacity=capacity, place=place)
        # Rank 0, where nothing failed, has repeated its step as well.
        assert model.attempts[:3] == ([4, 2, 2] if get_rank() == 0 else [3, 2, 1]), model.attempts
        for name, value in weights.items():
            assert torch.equal(value, starts_small[name]), (place, name)
            torch.testing.assert_close(value, plain[name], rtol=1e-5, atol=1e-6)
            other = value.detach().clone()
            torch.distributed.broadcast(other, src=0)
            assert torch.equal(value, other), (place, name)


def assert_norms_that_talk_are_refused() -> None:
    model = HungryModel()
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    ddp = DistributedDataParallel(model)
    model.norm = nn.SyncBatchNorm(16)  # afterwards: DDP takes none on a CPU
    with pytest.raises(UserError, match='norm is a SyncBatchNorm'):
        AutoMicroBatchStep(ddp, wrapper, LOGGER)
