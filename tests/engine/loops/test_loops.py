import numpy as np
import pytest

from mmopt.engine.loops.evaluation_points import should_evaluate
from mmopt.registry import DATASETS
from tests.engine.test_runner import assert_same, build, state_of
from tests.engine.toy import ToyDataset, toy_config


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


@DATASETS.register_module()
class GlobalNoise(ToyDataset):
    """Draws from NumPy's global generator, as data sets of other libraries do."""

    def prepare_data(self, idx):
        sample = super().prepare_data(idx)
        sample['inputs'] = sample['inputs'] + np.random.rand()
        return sample


@pytest.mark.parametrize('done', [5, 7, 13])
def test_a_sampler_that_cannot_jump_is_resumed_in_any_epoch_with_the_same_draws(tmp_path, done):
    """Six iterations make an epoch; resuming after more of them ended in a RuntimeError."""
    cfg = toy_config(
        tmp_path / 'whole',
        max_iters=15,
        train_dataloader=dict(sampler=dict(type='DefaultSampler', shuffle=True), dataset=dict(type='GlobalNoise')),
        val_dataloader=None,
        val_evaluator=None,
        val_cfg=None,
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=done)),
    )
    whole = build(cfg)
    whole.train()
    resumed = build(
        cfg | dict(work_dir=str(tmp_path / 'b'), load_from=f'{tmp_path}/whole/iter_{done}.pth', resume=True)
    )
    resumed.train()
    assert_same(state_of(resumed), state_of(whole))
