from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from mmengine.config import Config

from mmopt.registry import DATASETS
from tests.conftest import REPO, load_script
from tests.engine.toy import ToyDataset, toy_config

TOOLS = REPO / 'tools'


@DATASETS.register_module()
class DrawnToyDataset(ToyDataset):
    """The toy data set, drawing each prediction as a gray square."""

    def draw(self, sample, image) -> np.ndarray:
        assert image.shape == (2,)
        return np.full((8, 8, 3), int(255 * float(sample.pred.sigmoid())), np.uint8)


@pytest.fixture
def tool() -> Callable[[str], ModuleType]:
    """Load a tool as a module: its ``main(argv)`` then costs no new process."""

    return lambda name: load_script(f'tools/{name}.py')


@pytest.fixture
def write_config(tmp_path) -> Callable[..., Path]:
    """Write a toy run's config file; keywords change its sections."""

    def write(name: str = 'toy', **changes) -> Path:
        cfg = toy_config(tmp_path / 'unused', **changes)
        del cfg['work_dir']
        cfg['val_dataloader']['dataset']['type'] = 'DrawnToyDataset'
        cfg['test_dataloader'] = cfg['val_dataloader']
        cfg['test_evaluator'] = cfg['val_evaluator']
        cfg['test_cfg'] = dict(type='TestLoop')
        cfg['default_hooks']['checkpoint'].update(save_best='error', rule='less')
        path = tmp_path / 'configs' / f'{name}.py'
        path.parent.mkdir(exist_ok=True)
        Config(cfg).dump(path)
        return path

    return write


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
