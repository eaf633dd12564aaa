import errno
import io
import os
from pathlib import Path

import pytest
import torch

from mmopt.engine import checkpoint_io
from mmopt.engine.checkpoint_io import (
    CheckpointWriteError,
    find_latest,
    load,
    save,
    write_pointer,
)


class FullDisk(io.RawIOBase):
    """A file that holds so many bytes and no more."""

    def __init__(self, file, capacity: int) -> None:
        self.file, self.left = file, capacity

    def write(self, chunk) -> int:
        self.left -= len(chunk)
        if self.left < 0:
            raise OSError(errno.ENOSPC, 'No space left on device')
        return self.file.write(chunk)

    def fileno(self) -> int:
        return self.file.fileno()

    def seek(self, *args) -> int:
        return self.file.seek(*args)

    def close(self) -> None:
        self.file.close()
        super().close()


@pytest.mark.parametrize('capacity', [0, 100, 1500, 100_000])
def test_a_full_disk_is_one_message_and_the_previous_file_survives(tmp_path, monkeypatch, capacity, state):
    path = tmp_path / 'a.pth'
    save(path, state(1.0))
    real_open = Path.open
    monkeypatch.setattr(Path, 'open', lambda self, *args: FullDisk(real_open(self, *args), capacity))
    big = state() | dict(state_dict=dict(weight=torch.zeros(50_000)))
    with pytest.raises(
        CheckpointWriteError,
        match=r'a\.pth: checkpoint not written: No space left.*needs.*free.*max_keep_ckpts',
    ):
        save(path, big)
    monkeypatch.undo()
    assert load(path)['state_dict']['weight'][0, 0] == 1
    assert os.listdir(tmp_path) == ['a.pth']


def test_a_disk_that_fails_at_fsync_keeps_the_previous_file(tmp_path, monkeypatch, state):
    save(tmp_path / 'a.pth', state(1.0))

    def fail(_handle):
        raise OSError(errno.EIO, 'Input/output error')

    monkeypatch.setattr(os, 'fsync', fail)
    with pytest.raises(CheckpointWriteError, match=r'Input/output error.*Check the disk'):
        save(tmp_path / 'a.pth', state(2.0))
    monkeypatch.undo()
    assert load(tmp_path / 'a.pth')['state_dict']['weight'][0, 0] == 1
    assert os.listdir(tmp_path) == ['a.pth']


@pytest.mark.parametrize(
    ('code', 'text'), [(errno.EROFS, 'file system is read-only'), (errno.EACCES, 'No permission to write there')]
)
def test_a_read_only_folder_is_one_message(tmp_path, monkeypatch, code, text, state):
    real_open = Path.open

    def refuse(self, *args):
        if args == ('wb',):
            raise OSError(code, os.strerror(code), str(self))
        return real_open(self, *args)

    monkeypatch.setattr(Path, 'open', refuse)
    with pytest.raises(CheckpointWriteError, match=rf'a\.pth: checkpoint not written.*{text}.*--work-dir'):
        save(tmp_path / 'a.pth', state())
    with pytest.raises(CheckpointWriteError, match=r'last_checkpoint: not written'):
        write_pointer(tmp_path, 'a.pth')
    assert os.listdir(tmp_path) == []


def test_a_folder_in_the_way_of_the_work_dir_is_one_message(tmp_path, state):
    (tmp_path / 'file').write_text('')
    with pytest.raises(CheckpointWriteError, match='not written'):
        save(tmp_path / 'file' / 'a.pth', state())


def test_an_interrupt_while_writing_leaves_the_previous_file_and_nothing_else(tmp_path, monkeypatch, state):
    save(tmp_path / 'a.pth', state(1.0))

    def interrupt(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, 'save', interrupt)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path / 'a.pth', state(2.0))
    assert os.listdir(tmp_path) == ['a.pth']
    assert load(tmp_path / 'a.pth')['state_dict']['weight'][0, 0] == 1


def test_what_a_killed_run_left_half_written_is_ignored_and_removed(tmp_path, state):
    save(tmp_path / 'iter_20.pth', state())
    torn = tmp_path / '.iter_40.pth.4711.tmp'
    torn.write_bytes((tmp_path / 'iter_20.pth').read_bytes()[:100])
    keep = tmp_path / '.hidden'
    keep.write_text('not ours')
    assert find_latest(tmp_path) == tmp_path / 'iter_20.pth'
    assert checkpoint_io.remove_leftovers(tmp_path) == [torn]
    assert sorted(os.listdir(tmp_path)) == ['.hidden', 'iter_20.pth']
