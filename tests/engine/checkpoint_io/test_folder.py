import errno
import os

import pytest

from mmopt.engine import checkpoint_io
from mmopt.engine.checkpoint_io import (
    find_latest,
    load,
    save,
    write_pointer,
)
from mmopt.utils.errors import UserError


def test_the_pointer_says_which_is_the_newest(tmp_path, state):
    for number in (20, 40):
        save(tmp_path / f'iter_{number}.pth', state())
    assert find_latest(tmp_path) == tmp_path / 'iter_40.pth'
    write_pointer(tmp_path, 'iter_20.pth')
    assert find_latest(tmp_path) == tmp_path / 'iter_20.pth'
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'iter_20.pth')


@pytest.mark.parametrize('damage', ['cut', 'missing', 'flipped'])
def test_a_torn_newest_checkpoint_is_named_and_the_one_before_it_used(tmp_path, warnings_logged, damage, state):
    for number in (5, 20, 100, 40):
        save(tmp_path / f'iter_{number}.pth', state())
    write_pointer(tmp_path, 'iter_40.pth')
    newest = tmp_path / 'iter_40.pth'
    content = bytearray(newest.read_bytes())
    if damage == 'missing':
        newest.unlink()
    elif damage == 'cut':
        newest.write_bytes(content[:500])
    else:
        content[700] ^= 1
        newest.write_bytes(content)
    # Not iter_100: it is of an earlier, longer run in the same folder.
    assert find_latest(tmp_path) == tmp_path / 'iter_20.pth'
    assert 'iter_40.pth' in warnings_logged[0]
    assert f'Going on from {tmp_path / "iter_20.pth"}' in warnings_logged[0]


def test_without_any_whole_checkpoint_there_is_none(tmp_path, warnings_logged):
    assert find_latest(tmp_path) is None
    assert find_latest(tmp_path / 'absent') is None
    assert warnings_logged == []
    (tmp_path / 'iter_1.pth').write_bytes(b'')
    assert find_latest(tmp_path) is None
    assert 'iter_1.pth: the file is empty' in warnings_logged[0]


def test_a_copied_work_dir_uses_its_own_files(tmp_path, state):
    for name in ('old', 'new'):
        save(tmp_path / name / 'iter_20.pth', state())
    write_pointer(tmp_path / 'old', 'iter_20.pth')
    (tmp_path / 'new' / 'last_checkpoint').write_text((tmp_path / 'old' / 'last_checkpoint').read_text())
    assert find_latest(tmp_path / 'new') == tmp_path / 'new' / 'iter_20.pth'


def test_a_link_switches_to_the_new_file(tmp_path, state):
    save(tmp_path / 'one.pth', state(1.0))
    save(tmp_path / 'two.pth', state(2.0))
    for name in ('one', 'two', 'two'):
        checkpoint_io.switch_link(tmp_path / 'best.pth', tmp_path / f'{name}.pth')
    assert load(tmp_path / 'best.pth')['state_dict']['weight'][0, 0] == 2
    assert sorted(os.listdir(tmp_path)) == ['best.pth', 'one.pth', 'two.pth']


def test_where_no_links_are_possible_it_is_a_copy(tmp_path, monkeypatch, state):
    def refuse(*_args):
        raise OSError(errno.EPERM, 'Operation not permitted')

    monkeypatch.setattr(os, 'link', refuse)
    save(tmp_path / 'one.pth', state(1.0))
    checkpoint_io.switch_link(tmp_path / 'best.pth', tmp_path / 'one.pth')
    (tmp_path / 'one.pth').unlink()
    assert load(tmp_path / 'best.pth')['state_dict']['weight'][0, 0] == 1
    assert os.listdir(tmp_path) == ['best.pth']


def test_a_wrong_path_names_what_is_near(tmp_path, state):
    for name in ('iter_20.pth', 'iter_40.pth', 'best_mIoU.pth'):
        save(tmp_path / 'run' / name, state())
    with pytest.raises(UserError, match=r'no such .*; near names there: best_mIoU.pth; the newest is .*iter_40.pth'):
        load(tmp_path / 'run' / 'best_mIOU.pth')
    with pytest.raises(UserError, match=r'run is a folder, not a checkpoint; its newest checkpoint is .*iter_40.pth'):
        load(tmp_path / 'run')
    with pytest.raises(UserError, match=r'the folder .*runs does not exist; did you mean .*run\?'):
        load(tmp_path / 'runs' / 'iter_20.pth')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match='empty holds none'):
        load(tmp_path / 'empty' / 'a.pth')
    with pytest.raises(UserError, match='it holds no checkpoint'):
        load(tmp_path / 'empty')
    with pytest.raises(UserError, match='a name in a model zoo of mmcv: download the file'):
        load('torchvision://resnet50')
