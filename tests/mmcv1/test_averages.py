"""Losses that divide by the positives of what they see, in micro-batches."""

import pytest
import torch
from torch import nn

from mmopt.engine.loops.step import TrainStep
from mmopt.engine.micro_batch.notes import inexact_parts
from mmopt.engine.optim import OptimWrapper
from mmopt.mmcv1.adapt.averages import LossAverages
from mmopt.mmcv1.adapt.model import adapt_model


class _Squares(nn.Module):
    """A loss of the kind that MMDetection 2 has."""

    def forward(self, pred, target, weight=None, avg_factor=None):
        loss = (pred - target) ** 2
        return loss.mean() if avg_factor is None else loss.sum() / avg_factor


class _Detector(nn.Module):
    """Draws random numbers and counts positives; written as for mmcv 1.x."""

    def __init__(self, *, by_name=True, by_samples=False):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(3, 1)
        self.norm = nn.BatchNorm1d(1)
        self.criterion = _Squares()
        self.by_name, self.by_samples, self.runs = by_name, by_samples, 0

    def forward(self, img, gt, return_loss=True):
        self.runs += 1
        self.norm(self.linear(img))  # its statistics change, nothing depends on them
        pred = self.linear(img)[:, 0]
        positive = len(img) if self.by_samples else max(int((gt > 0).sum()), 1)
        pred = pred + 0.1 * torch.rand(len(pred))
        loss = (
            self.criterion(pred, gt, avg_factor=positive) if self.by_name else self.criterion(pred, gt, None, positive)
        )
        return dict(loss_pos=loss, loss_plain=self.criterion(pred, gt))

    def train_step(self, data, optimizer):
        loss, log_vars = self._parse_losses(self(**data))
        return dict(loss=loss, log_vars=log_vars, num_samples=len(data['img']))

    def _parse_losses(self, losses):
        raise AssertionError('the adapter has its own')


def _step(micro_batch, **kwargs):
    model = adapt_model(_Detector(**kwargs))
    step = TrainStep(model, OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1)), micro_batch)
    batch = dict(img=torch.randn(6, 3), gt=torch.tensor([1.0, 1, 1, 0, 0, 1]))
    torch.manual_seed(1)
    log = step(batch)
    return model, step, batch, log


@pytest.mark.parametrize('by_name', [True, False])
def test_micro_batches_divide_by_the_positives_of_the_whole_batch(by_name):
    torch.manual_seed(2)
    whole, _, _, log = _step(None, by_name=by_name)
    torch.manual_seed(2)
    parts, _, _, parts_log = _step(2, by_name=by_name)
    torch.testing.assert_close(parts_log, log, rtol=1e-6, atol=0)
    torch.testing.assert_close(
        dict(parts.linear.named_parameters()), dict(whole.linear.named_parameters()), rtol=1e-6, atol=0
    )
    assert parts.norm.num_batches_tracked == 3
    assert (whole.runs, parts.runs) == (1, 6)
    assert any('added up over the whole batch' in note for note in inexact_parts(parts))


def test_the_next_whole_batch_divides_by_its_own_positives():
    model, _, batch, _ = _step(2)
    plain = _Detector()
    plain.load_state_dict(model.state_dict())
    torch.manual_seed(3)
    losses = model(mode='loss', **batch)
    torch.manual_seed(3)
    torch.testing.assert_close(losses, plain(**batch))


def test_losses_that_divide_by_samples_are_looked_at_once():
    model, step, batch, _ = _step(2, by_samples=True)
    step(batch)
    assert model.runs == 6 + 3
    without = nn.Linear(1, 1)
    averages = LossAverages(without)
    averages.measure(lambda part: pytest.fail('nothing to look for'), [None], [1])


def test_parts_that_have_other_losses_than_the_rest_keep_their_own(caplog):
    criterion = _Squares()
    averages = LossAverages(criterion)

    def run(part):
        for factor in part['factors']:
            criterion(torch.ones(1), torch.zeros(1), avg_factor=factor)

    parts = [dict(factors=[torch.tensor(4.0)] * 2), dict(factors=[torch.tensor(5.0)])]
    averages.measure(run, parts, [0.5, 0.5])
    averages.begin_part()
    assert criterion(torch.ones(1), torch.zeros(1), avg_factor=4) == 0.25
