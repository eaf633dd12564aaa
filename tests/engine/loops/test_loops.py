import pytest

from mmopt.engine.loops.evaluation_points import should_evaluate
from tests.engine.test_runner import build
from tests.engine.toy import toy_config


def points(last: int, *args, **kwargs) -> list[int]:
    return [done for done in range(1, last + 1) if should_evaluate(done, *args, **kwargs)]


def test_the_interval_counts_from_zero():
    assert points(10, 3) == [3, 6, 9]


def test_a_start_shifts_the_interval():
    assert points(12, 3, start=5) == [5, 8, 11]


def test_dynamic_intervals_are_those_of_mmcv():
    # The case of the specification: mmcv 1.x evaluates at 5, 10, 15, 20 and 23.
    assert points(23, 5, dynamic_intervals=[(21, 23)]) == [5, 10, 15, 20, 23]


@pytest.mark.parametrize(('milestones', 'expected'), [([(4, 2)], [3, 4, 6, 8]), ([(4, 2), (7, 1)], [3, 4, 6, 7, 8])])
def test_each_milestone_brings_its_interval(milestones, expected):
    assert points(8, 3, dynamic_intervals=milestones) == expected


@pytest.mark.parametrize('by_epoch', [True, False])
def test_a_loader_without_a_batch_is_refused_and_not_waited_for(tmp_path, by_epoch):
    loader = dict(batch_size=32, drop_last=True, sampler=dict(type='DefaultSampler', shuffle=True))
    runner = build(toy_config(tmp_path, by_epoch=by_epoch, train_dataloader=loader))
    with pytest.raises(ValueError, match='24 samples make no full batch of 32'):
        runner.train()


def test_an_endless_sampler_fills_a_batch_larger_than_the_data_set(tmp_path):
    runner = build(toy_config(tmp_path, max_iters=2, train_dataloader=dict(batch_size=32, drop_last=True)))
    runner.train()
    assert runner.train_loop.samples_done == 64
