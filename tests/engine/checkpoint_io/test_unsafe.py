import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mmopt.engine.checkpoint_io import (
    UnsafeCheckpointError,
    allow_harmless_types,
    load,
)
from mmopt.utils.errors import UserError


class Exploit:
    def __reduce__(self):
        return os.system, ('echo exploited > exploited',)


class Config:
    """What some project pickled into its checkpoint."""


@pytest.mark.parametrize('zipped', [True, False])
def test_an_unsafe_pickle_is_refused_by_type_and_flag(tmp_path, monkeypatch, zipped):
    monkeypatch.chdir(tmp_path)
    torch.save(dict(state_dict={}, meta=dict(a=Exploit())), 'a.pth', _use_new_zipfile_serialization=zipped)
    with pytest.raises(UnsafeCheckpointError, match=r'a\.pth: holds .* of type \w+\.system.*--allow-pickle'):
        load('a.pth')
    assert not Path('exploited').exists()


def test_an_object_array_is_refused(tmp_path):
    torch.save(dict(state_dict={}, meta=dict(a=np.array([Exploit()], dtype=object))), tmp_path / 'a.pth')
    with pytest.raises(UnsafeCheckpointError, match='--allow-pickle'):
        load(tmp_path / 'a.pth')


def test_allow_pickle_loads_any_object(tmp_path):
    torch.save(
        dict(state_dict=dict(a=torch.ones(1)), meta=dict(iter=3, mmcv_version='1.7.2', config=Config())),
        tmp_path / 'epoch_1.pth',
    )
    with pytest.raises(UnsafeCheckpointError, match=r'test_unsafe\.Config'):
        load(tmp_path / 'epoch_1.pth')
    assert load(tmp_path / 'epoch_1.pth', allow_pickle=True)['iter'] == 3


def test_a_pickled_type_of_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(Config, '__module__', 'gone.package')
    gone = type(sys)('gone.package')
    gone.Config = Config
    monkeypatch.setitem(sys.modules, 'gone', type(sys)('gone'))
    monkeypatch.setitem(sys.modules, 'gone.package', gone)
    torch.save(dict(state_dict={}, meta=dict(a=Config())), tmp_path / 'a.pth')
    monkeypatch.undo()
    with pytest.raises(UserError, match=r"need a package that is not installed: No module named 'gone'"):
        load(tmp_path / 'a.pth', allow_pickle=True)


def test_reading_a_checkpoint_takes_back_nothing_that_was_allowed_before(tmp_path):
    path = tmp_path / 'numbers.pth'
    torch.save(dict(state_dict=dict(weight=torch.ones(1)), meta=dict(seed=np.int64(3))), path)
    before = torch.serialization.get_safe_globals()
    allow_harmless_types()
    try:
        assert load(path)['meta']['seed'] == 3
        assert torch.load(path)['meta']['seed'] == 3
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)
    load(path)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path)
