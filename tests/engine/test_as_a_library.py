"""The script of docs/extending.md, mmopt without its tools, on configs of three kinds."""

import re
import runpy
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, METRICS, MODELS, Registry

from mmopt.config.render import render_value
from mmopt.engine import IterBasedRunner
from mmopt.engine.micro_batch import AutoMicroBatchStep
from mmopt.utils.precision import this_device
from tests.conftest import REPO, forget_mmengine_globals
from tests.engine.dialect import EPOCH_BASED, ITER_BASED
from tests.engine.test_runner import Killed, assert_same, state_of
from tests.engine.toy import ToyDataset, ToyError, ToyModel, toy_config

for root, kind in ((MODELS, ToyModel), (DATASETS, ToyDataset), (METRICS, ToyError)):
    # Another library, as MMEngine sees it: a scope with registries of its own.
    Registry(root.name, parent=root, scope='otherlib').register_module(name=f'Other{kind.__name__}', module=kind)


def other_library() -> dict:
    """Return a native config as another library writes it: its own types, MMEngine's loops, hooks and samplers."""
    cfg = toy_config('unused')
    for key in ('runner_type', 'work_dir', 'randomness'):
        del cfg[key]
    cfg['default_scope'] = 'otherlib'
    cfg['model']['type'] = 'OtherToyModel'
    for name in ('train_dataloader', 'val_dataloader'):
        cfg[name]['dataset']['type'] = 'OtherToyDataset'
    cfg['train_dataloader']['sampler'] = dict(type='InfiniteSampler', shuffle=True)
    cfg['val_dataloader']['sampler'] = dict(type='DefaultSampler', shuffle=False)
    cfg['val_evaluator'] = dict(type='OtherToyError')
    cfg['train_cfg'] = dict(by_epoch=False, max_iters=8, val_interval=4)
    cfg['val_cfg'] = dict()
    cfg['custom_hooks'] = [dict(type='mmopt.KillHook', after=5)]
    cfg['param_scheduler'] = dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=6)
    cfg['randomness'] = dict(seed=5)
    return cfg


def of_mmcv1(cfg: dict, after: int) -> dict:
    return {**cfg, 'custom_hooks': [dict(type='KillHook', after=after)]}


CONFIGS = {'native': other_library(), 'iterations': of_mmcv1(ITER_BASED, 8), 'epochs': of_mmcv1(EPOCH_BASED, 14)}


@pytest.fixture(scope='module')
def script(tmp_path_factory) -> Path:
    page = REPO.joinpath('docs', 'extending.md').read_text(encoding='utf-8')
    (text,) = re.findall(r'^```python\n# train\.py\n(.*?)^```$', page, flags=re.MULTILINE | re.DOTALL)
    path = tmp_path_factory.mktemp('library') / 'train.py'
    path.write_text(text, encoding='utf-8')
    return path


def run(script: Path, cfg: dict, work_dir: Path, monkeypatch) -> dict:
    """Run the script and return its names."""
    forget_mmengine_globals()
    path = work_dir.with_suffix('.py')
    cfg = {**cfg, 'work_dir': str(work_dir)}
    path.write_text('\n'.join(f'{key} = {render_value(value)}' for key, value in cfg.items()), encoding='utf-8')
    monkeypatch.setattr(sys, 'argv', [str(script), str(path)])
    return runpy.run_path(str(script))


@pytest.mark.parametrize('name', CONFIGS)
def test_the_script_of_the_docs_resumes_splits_and_chooses_its_precision(script, tmp_path, monkeypatch, name):
    cfg = CONFIGS[name]
    whole = {**cfg, 'custom_hooks': [hook for hook in cfg['custom_hooks'] if 'KillHook' not in hook['type']]}
    done = run(script, whole, tmp_path / 'whole', monkeypatch)['runner']
    with pytest.raises(Killed):
        run(script, cfg, tmp_path / 'killed', monkeypatch)
    resumed = run(script, whole, tmp_path / 'killed', monkeypatch)['runner']
    assert 'Resumed' in (tmp_path / 'killed' / 'latest.log').read_text(encoding='utf-8')
    assert resumed.iter == done.iter == done.max_iters
    assert_same(state_of(resumed), state_of(done))
    step = resumed.train_loop.step
    assert isinstance(step, AutoMicroBatchStep)
    assert step.guard is not None
    assert resumed.optim_wrapper.precision == (this_device().native_half or 'fp32')


def test_the_config_that_is_handed_in_stays_as_it_is_and_the_work_dir_has_a_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / 'mine.py'
    path.touch()
    cfg = Config(of_mmcv1(ITER_BASED, 8), filename=str(path))
    before = cfg.pretty_text
    runner = IterBasedRunner.from_cfg(cfg)
    assert cfg.pretty_text == before
    assert Path(runner.work_dir) == tmp_path / 'work_dirs' / 'mine'
    assert torch.is_tensor(next(runner.model.parameters()))
