"""A run whose disk fills up, or whose newest checkpoint is torn: one message, and it goes on from what is whole."""

import errno
import os
from pathlib import Path

import pytest

from mmopt.engine.checkpoint_io import CheckpointWriteError
from tests.engine.checkpoint_io.test_failing_disks import FullDisk
from tests.engine.test_runner import assert_same, build, losses_of, state_of
from tests.engine.toy import toy_config


def config(work_dir: Path, *, background: bool = False, **changes) -> dict:
    cfg = toy_config(work_dir, max_iters=6, **changes)
    cfg['default_hooks']['checkpoint']['background'] = background
    return cfg


def assert_goes_on(work_dir: Path, whole_dir: Path) -> None:
    resumed, whole = build(config(work_dir, resume=True)), None
    resumed.train()
    whole = build(config(whole_dir))
    whole.train()
    assert_same(state_of(whole), state_of(resumed))
    assert losses_of(work_dir)[6] == losses_of(whole_dir)[6]


@pytest.mark.parametrize('background', [False, True])
def test_a_disk_that_fills_up_ends_the_run_in_one_message_and_frees_the_way_to_go_on(tmp_path, monkeypatch, background):
    real_open = Path.open

    def full_after_the_first(self, *args, **kwargs):
        file = real_open(self, *args, **kwargs)
        return FullDisk(file, 3000) if 'iter_4' in self.name and args == ('wb',) else file

    monkeypatch.setattr(Path, 'open', full_after_the_first)
    with pytest.raises(CheckpointWriteError, match=r'iter_4.pth: checkpoint not written: No space left.*untouched'):
        build(config(tmp_path / 'run', background=background)).train()
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / 'run').glob('*.pth')] == ['iter_2.pth']
    assert_goes_on(tmp_path / 'run', tmp_path / 'whole')


def test_a_folder_that_becomes_read_only_ends_the_run_in_one_message(tmp_path, monkeypatch):
    real_open = Path.open

    def read_only(self, *args, **kwargs):
        if self.name.startswith('.iter_4'):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))
        return real_open(self, *args, **kwargs)

    monkeypatch.setattr(Path, 'open', read_only)
    with pytest.raises(CheckpointWriteError, match=r'Read-only file system.*choose another --work-dir'):
        build(config(tmp_path)).train()
    assert (tmp_path / 'iter_2.pth').is_file()


@pytest.mark.parametrize('tenth', [1, 5, 9])
def test_a_run_goes_on_from_the_checkpoint_before_a_torn_one(tmp_path, tenth):
    """All ten places are cut in checkpoint_io/test_files.py."""
    build(config(tmp_path / 'run', train_cfg=dict(max_iters=4))).train()
    newest = tmp_path / 'run' / 'iter_4.pth'
    with newest.open('r+b') as file:
        file.truncate(newest.stat().st_size * tenth // 10)
    assert_goes_on(tmp_path / 'run', tmp_path / 'whole')
    log = (tmp_path / 'run' / 'latest.log').read_text()
    assert f'Skipped {newest}: cut off' in log
    assert f'Going on from {tmp_path}/run/iter_2.pth' in log
