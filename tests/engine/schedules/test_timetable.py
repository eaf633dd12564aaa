"""Epochs of unequal length, by hand; schedules over them."""

import math

import pytest
import torch

from mmopt.engine.schedules.schedulers import ClosedFormLR
from mmopt.engine.schedules.timetable import Span, Timetable

TABLE = Timetable((Span(2, 3, 2.0), Span(5, 6)))  # epochs begin at 0 3 | 6 12 18, the run ends at 24


def test_epochs_and_iterations_by_hand():
    assert [TABLE.iters_until(epoch) for epoch in range(7)] == [0, 3, 6, 12, 18, 24, 30]
    assert [TABLE.epoch_at(i) for i in (0, 2, 3, 5, 6, 11, 12, 23, 24)] == [0, 0, 1, 1, 2, 2, 3, 4, 5]
    assert TABLE.max_iters == 24


def test_tables_agree_up_to_the_first_difference():
    other = Timetable((Span(2, 3), Span(3, 6), Span(5, 7)))
    assert TABLE.agrees_until(other, 2)
    assert not TABLE.agrees_until(other, 3)
    assert Timetable.of_lengths(TABLE.lengths()).lengths() == [[2, 3], [5, 6]]


def rates(**changes) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = ClosedFormLR(optimizer, **changes)
    scheduler.set_horizon(epoch_length=3, max_iters=24, max_epochs=5, timetable=TABLE)
    values = []
    for _ in range(24):
        values.append(scheduler.get_last_value()[0])
        scheduler.step()
    return values


def test_the_cosines_position_goes_on_over_phases_and_its_base_follows_the_batch():
    got = rates(policy='CosineAnnealing', min_lr_ratio=0.0)
    epoch_of = [0] * 3 + [1] * 3 + [2] * 6 + [3] * 6 + [4] * 6
    want = [0.1 * (2 if epoch < 2 else 1) * 0.5 * (1 + math.cos(math.pi * epoch / 5)) for epoch in epoch_of]
    assert got == pytest.approx(want)


def test_a_warm_up_in_epochs_counts_their_own_lengths():
    got = rates(policy='Fixed', warmup='linear', warmup_iters=3, warmup_ratio=0.5, warmup_by_epoch=True)
    # Three epochs are 3 + 3 + 6 iterations.
    assert got[:12] == pytest.approx([0.1 * (2 if i < 6 else 1) * (1 - (1 - i / 12) * 0.5) for i in range(12)])
    assert got[12:] == pytest.approx([0.1] * 12)


def test_an_absolute_minimum_stays_and_momentum_does_not_follow_the_batch():
    assert rates(policy='CosineAnnealing', min_lr=0.2, by_epoch=False)[0] == pytest.approx(0.2)
    assert rates(policy='YOLOX', min_lr_ratio=0.05, num_last_epochs=1)[-1] == pytest.approx(0.1 * 0.05)
