"""Broken samples: an error with its reason, or left out, counted, listed, and the same after a resume."""

import os
import signal

import pytest
import torch
from mmengine.hooks import Hook
from torch.utils.data import DataLoader, Dataset

from mmopt.engine.loading.worker_death import WorkerDiedError, worker_deaths_explained
from mmopt.registry import DATASETS, HOOKS
from mmopt.structures import ReportedBatch, move_to
from mmopt.utils.errors import DataError, UserError
from tests.engine.test_runner import Killed, assert_same, build, state_of
from tests.engine.toy import ToyDataset, toy_config

NO_VALIDATION = dict(val_dataloader=None, val_evaluator=None, val_cfg=None)


@DATASETS.register_module(force=True)
class TornToyDataset(ToyDataset):
    """Some of its files are broken."""

    def __init__(self, bad=(), **kwargs) -> None:
        self.bad = set(bad)
        super().__init__(**kwargs)

    def prepare_data(self, idx):
        if int(idx) in self.bad:
            raise DataError(f'images/{int(idx)}.jpg: the file is truncated after 7 bytes. Copy or make it again.')
        return super().prepare_data(idx)


@HOOKS.register_module(force=True)
class KillAWorkerHook(Hook):
    """Do to a data worker what the kernel does when memory runs out."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if batch_idx == 1:
            os.kill(runner.train_loop._loader_iter._workers[0].pid, signal.SIGKILL)


def config(work_dir, *, bad=(3, 4, 11), num_workers=0, on_bad_sample='skip', **changes) -> dict:
    cfg = toy_config(work_dir, **NO_VALIDATION, **changes)
    cfg['train_dataloader'] |= dict(on_bad_sample=on_bad_sample, num_workers=num_workers)
    cfg['train_dataloader']['dataset'] = dict(type='TornToyDataset', bad=bad)
    return cfg


def test_by_default_a_bad_sample_ends_the_run_with_its_file_and_reason(tmp_path):
    with pytest.raises(DataError, match=r'^images/\d+.jpg: the file is truncated after 7 bytes'):
        build(config(tmp_path, on_bad_sample='raise')).train()


@pytest.mark.parametrize('num_workers', [0, 2])
def test_bad_samples_are_left_out_counted_and_listed_and_a_resumed_run_does_the_same(tmp_path, num_workers):
    """Two epochs: each of the three is met twice, and what follows 3 is 4, which is bad as well."""
    whole = build(config(tmp_path / 'whole', max_iters=12))
    whole.train()
    killed = build(config(tmp_path / 'killed', max_iters=12, custom_hooks=[dict(type='KillHook', after=7)]))
    with pytest.raises(Killed):
        killed.train()
    resumed = build(config(tmp_path / 'killed', max_iters=12, resume=True, num_workers=num_workers))
    resumed.train()
    assert_same(state_of(whole), state_of(resumed))
    lists = [(tmp_path / name / 'bad_samples.txt').read_text().splitlines() for name in ('whole', 'killed')]
    reason = 'the file is truncated after 7 bytes. Copy or make it again.'
    assert lists[0] == [f'2 x images/11.jpg: {reason}', f'2 x images/3.jpg: {reason}', f'4 x images/4.jpg: {reason}']
    assert lists[1] == lists[0]
    log = (tmp_path / 'whole' / 'latest.log').read_text()
    assert log.count('Left out a bad sample: images/11.jpg') == 1
    assert '3 bad samples were left out, 8 times in all' in log


def test_the_substitute_is_the_next_good_sample(tmp_path):
    dataset = build(config(tmp_path)).train_dataloader.dataset
    substitute = dataset[3]
    assert substitute.sample['data_samples'].sample_idx == 5
    assert len(substitute.reports) == 2
    assert torch.equal(substitute.sample['inputs'], dataset[5]['inputs'])


def test_bad_samples_without_end_are_an_error(tmp_path):
    with pytest.raises(DataError, match=r'24 bad samples in a row, from number \d+ on.*The first: images/'):
        build(config(tmp_path, bad=range(24))).train()


def test_a_foreign_data_set_cannot_skip(tmp_path):
    class Foreign(Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, idx):
            return torch.zeros(2)

    cfg = toy_config(tmp_path, **NO_VALIDATION)
    runner = build(cfg)
    loader = cfg['train_dataloader'] | dict(dataset=Foreign(), on_bad_sample='skip')
    with pytest.raises(UserError, match="Foreign is none: write 'raise'"):
        runner.build_dataloader(loader, seed=0)


def test_wrappers_lead_to_the_data_sets_inside(tmp_path):
    cfg = config(tmp_path, max_iters=12)
    part = cfg['train_dataloader']['dataset']
    cfg['train_dataloader']['dataset'] = dict(type='ConcatDataset', datasets=[part, dict(type='ToyDataset')])
    build(cfg).train()
    assert (tmp_path / 'bad_samples.txt').is_file()


def test_a_killed_worker_is_named_with_the_remedy(tmp_path):
    cfg = config(tmp_path, bad=[], num_workers=2, custom_hooks=[dict(type='KillAWorkerHook')], max_iters=200)
    with pytest.raises(WorkerDiedError, match=r'train_dataloader.num_workers=1, now 2\).*--auto-resume') as caught:
        build(cfg).train()
    assert 'the kernel kills one when memory runs out' in str(caught.value)


@pytest.mark.parametrize('error', [ConnectionResetError(104, 'reset'), BrokenPipeError(32, 'pipe'), EOFError()])
def test_a_worker_that_dies_while_it_hands_over_a_batch_is_named_too(monkeypatch, error):
    """The broken connection comes before torch has noticed the death."""
    loader = DataLoader([1], num_workers=1)
    checks = iter([None, RuntimeError('DataLoader worker (pid 123) is killed by signal: Killed. ')])

    def check():
        if (noticed := next(checks)) is not None:
            raise noticed

    monkeypatch.setattr('torch._C._error_if_any_worker_fails', check)
    with pytest.raises(WorkerDiedError, match='123') as caught, worker_deaths_explained(loader):
        raise error
    assert caught.value.__cause__ is error


def test_a_connection_that_breaks_while_all_workers_live_stays_what_it_is(monkeypatch):
    monkeypatch.setattr('time.sleep', lambda seconds: None)
    with pytest.raises(ConnectionResetError), worker_deaths_explained(DataLoader([1], num_workers=1)):
        raise ConnectionResetError(104, 'of a data set that reads from a network')


def test_what_is_reported_travels_with_the_batch_to_its_device():
    moved = move_to(ReportedBatch(dict(inputs=torch.ones(2)), ('a.jpg: broken',)), torch.device('meta'))
    assert moved.batch['inputs'].device.type == 'meta'
    assert moved.reports == ('a.jpg: broken',)


def test_a_cache_and_skipping_exclude_each_other(tmp_path):
    runner = build(toy_config(tmp_path, **NO_VALIDATION))
    loader = config(tmp_path)['train_dataloader'] | dict(cache='ram')
    with pytest.raises(UserError, match=r'on_bad_sample=.skip. and train_dataloader.cache exclude each other'):
        runner.build_dataloader(loader, seed=0)
