"""Resuming with another batch: epochs and samples decide where a run goes on, not the bare count of iterations."""

import pytest

from mmopt.datasets.common import ResumableSampler
from mmopt.utils.errors import UserError
from tests.engine.test_runner import Killed, build
from tests.engine.toy import ToyDataset, toy_config

NO_VALIDATION = dict(val_dataloader=None, val_evaluator=None, val_cfg=None)


def kill(work_dir, after: int, **changes) -> None:
    runner = build(toy_config(work_dir, custom_hooks=[dict(type='KillHook', after=after)], **NO_VALIDATION, **changes))
    with pytest.raises(Killed):
        runner.train()


@pytest.fixture
def reads(monkeypatch) -> list[int]:
    seen = []
    original = ToyDataset.prepare_data
    monkeypatch.setattr(ToyDataset, 'prepare_data', lambda self, idx: seen.append(int(idx)) or original(self, idx))
    return seen


def test_half_the_batch_goes_on_at_the_same_sample(tmp_path, reads):
    kill(tmp_path, after=4)
    reads.clear()
    cfg = toy_config(tmp_path, resume=True, train_dataloader=dict(batch_size=2), **NO_VALIDATION)
    build(cfg).train()
    order = [int(index) for index, _ in zip(ResumableSampler(range(24), seed=5, endless=True), range(24), strict=False)]
    assert reads == order[4 * 4 :][: 4 * 2]


def test_the_next_checkpoint_counts_samples_of_both_batches(tmp_path):
    kill(tmp_path, after=4)
    resumed = build(toy_config(tmp_path, resume=True, train_dataloader=dict(batch_size=2), **NO_VALIDATION))
    resumed.train()
    assert resumed.train_loop.samples_done == 4 * 4 + 4 * 2


def test_epochs_of_another_length_go_on_at_the_epoch_and_not_at_the_iteration(tmp_path):
    """6 iterations of 4 are half of two epochs; with batch 2 the second epoch begins at iteration 12."""
    kill(tmp_path, after=6, by_epoch=True)
    cfg = toy_config(tmp_path, by_epoch=True, resume=True, train_dataloader=dict(batch_size=2), **NO_VALIDATION)
    cfg['param_scheduler'] = [dict(type='ClosedFormLR', policy='Poly', by_epoch=False)]
    resumed = build(cfg)
    resumed.train()
    assert (resumed.train_loop.iters_done, resumed.train_loop.epochs_done) == (24, 2)
    text = (tmp_path / 'latest.log').read_text()
    assert 'going on at the beginning of epoch 2, which is iteration 12' in text
    assert 'Epoch(train) [2][ 2/12]' in text


@pytest.mark.parametrize(
    ('meta', 'expected'),
    [
        (dict(iter=18, epoch=3), (18, 3)),
        (dict(iter=36, epoch=3), (18, 3)),  # of a run with epochs twice as long
        (dict(iter=15, epoch=2), (15, 2)),  # in the middle of the third epoch
        (dict(iter=6, epoch=0, epoch_length=6), (6, 1)),  # saved before its epoch was counted
    ],
)
def test_checkpoints_of_other_libraries_go_on_at_their_epoch(tmp_path, meta, expected):
    loop = build(toy_config(tmp_path, by_epoch=True, train_cfg=dict(max_epochs=5), **NO_VALIDATION)).train_loop
    loop.set_position(meta)
    assert (loop.iters_done, loop.epochs_done) == expected


def test_another_number_of_schedulers_names_the_remedy(tmp_path):
    kill(tmp_path, after=4, param_scheduler=[dict(type='ClosedFormLR', policy='Fixed', by_epoch=False)])
    cfg = toy_config(tmp_path, resume=True, **NO_VALIDATION)
    cfg['param_scheduler'] = [dict(type='ClosedFormLR', policy='Fixed', by_epoch=False)] * 2
    with pytest.raises(UserError, match='has 1 schedulers, the config 2: bring param_scheduler back'):
        build(cfg).train()
