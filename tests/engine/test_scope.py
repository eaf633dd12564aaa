"""Configs of another library's scope: its own types first, then MMEngine's, then mmopt's; ours are never its own."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.hooks import EMAHook, IterTimerHook, ParamSchedulerHook
from mmengine.registry import DefaultScope, Registry, root

from mmopt.apis.config import load_config
from mmopt.apis.run.start import build_runner
from mmopt.apis.run.train import train
from mmopt.config import lower
from mmopt.engine import IterBasedRunner
from mmopt.engine.hooks import CheckpointHook, LoggerHook, PeakMemoryHook
from mmopt.engine.logging.log_processor import LogProcessor
from mmopt.engine.loops.epoch_loop import EpochBasedTrainLoop
from mmopt.engine.loops.evaluation_loops import ValLoop
from mmopt.engine.optim import AmpOptimWrapper, OptimWrapper
from mmopt.registry import DATA_SAMPLERS, DATASETS, FUNCTIONS, HOOKS, LOOPS, MODELS, is_known_scope
from mmopt.utils.errors import ConfigWarning, UserError
from tests.conftest import forget_mmengine_globals

REGISTRY = """
from mmengine import registry as root
from mmengine.registry import Registry

def node(name):
    return Registry(name, parent=getattr(root, name), scope='speclib', locations=['speclib.parts'])

FUNCTIONS = Registry('function', parent=root.FUNCTIONS, scope='speclib', locations=['speclib.not_there'])
DATASETS, HOOKS, LOOPS, METRICS, MODELS, OPTIM_WRAPPERS, RUNNERS, TRANSFORMS = map(
    node, ['DATASETS', 'HOOKS', 'LOOPS', 'METRICS', 'MODELS', 'OPTIM_WRAPPERS', 'RUNNERS', 'TRANSFORMS']
)
"""
PARTS = """
import torch
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmengine.runner import ValLoop as StockValLoop
from mmengine.structures import BaseDataElement
from torch import nn

from speclib.registry import DATASETS, HOOKS, LOOPS, METRICS, MODELS, RUNNERS, TRANSFORMS

@DATASETS.register_module()
class Line(BaseDataset):
    METAINFO = dict(classes=('a', 'b'))

    def __init__(self, length=8, pipeline=(dict(type='Pack'),), **kwargs):
        self.length = length
        super().__init__(pipeline=list(pipeline), **kwargs)

    def load_data_list(self):
        return [dict(x=i / self.length) for i in range(self.length)]

@TRANSFORMS.register_module()
class Pack:
    def __call__(self, results):
        x = torch.tensor([results['x']])
        return dict(inputs=x, data_samples=BaseDataElement(y=2 * x + 1))

@MODELS.register_module()
class Head(nn.Linear):
    pass

@MODELS.register_module()
class Regressor(BaseModel):
    def __init__(self, head, data_preprocessor=None, init_cfg=None):
        super().__init__(data_preprocessor, init_cfg)
        self.head = MODELS.build(head)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        pred = self.head(torch.stack(list(inputs)))
        if mode == 'loss':
            return dict(loss=(pred - torch.stack([s.y for s in data_samples])).square().mean())
        for sample, value in zip(data_samples, pred):
            sample.pred = value
        return data_samples

@METRICS.register_module()
class Gap(BaseMetric):
    default_prefix = 'line'

    def process(self, data_batch, data_samples):
        self.results += [abs(float(s['pred'] - s['y'])) for s in data_samples]

    def compute_metrics(self, results):
        return dict(gap=sum(results) / len(results))

@HOOKS.register_module()
class Note(Hook):
    def __init__(self, word):
        self.word = word

    def before_train(self, runner):
        runner.noted = self.word

@HOOKS.register_module()
class PeakMemoryHook(Hook):
    def __init__(self, must_not_be_built):
        raise AssertionError

@HOOKS.register_module()
class IterTimerHook(Hook):
    '''A hook that is also one of MMEngine: a config that names it means this.'''

@LOOPS.register_module()
class LoudLoop(EpochBasedTrainLoop):
    def run_epoch(self):
        self.loud = True
        super().run_epoch()

@LOOPS.register_module()
class OwnValLoop(StockValLoop):
    pass

@RUNNERS.register_module()
class SpecRunner(Runner):
    pass
"""
LINE = dict(type='Line', length=8)


@pytest.fixture(scope='module', autouse=True)
def library(tmp_path_factory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp('speclib')
    (folder / 'speclib').mkdir()
    for name, text in (('__init__', ''), ('registry', REGISTRY), ('parts', PARTS)):
        (folder / 'speclib' / f'{name}.py').write_text(text)
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.partition('.')[0] == 'speclib']:
        del sys.modules[name]
    for registry in vars(root).values():
        if isinstance(registry, Registry):
            registry.children.pop('speclib', None)


def spec_config(work_dir: Path, **changes) -> dict:
    """Return a config as MMEngine's libraries write them, with all that they type out."""
    loader = dict(batch_size=4, num_workers=0, dataset=LINE)
    cfg = dict(
        default_scope='speclib',
        work_dir=str(work_dir),
        model=dict(type='Regressor', head=dict(type='Head', in_features=1, out_features=1)),
        train_dataloader=dict(loader, sampler=dict(type='DefaultSampler', shuffle=True)),
        val_dataloader=dict(loader, sampler=dict(type='DefaultSampler', shuffle=False)),
        val_evaluator=dict(type='Gap'),
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=2, val_interval=1),
        val_cfg=dict(type='ValLoop'),
        optimizer=dict(type='SGD', lr=0.1),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1)),
        param_scheduler=[dict(type='LinearLR', start_factor=0.1, by_epoch=True, end=1, convert_to_iter_based=True)],
        default_hooks=dict(
            timer=dict(type='IterTimerHook'),
            logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=True),
            param_scheduler=dict(type='ParamSchedulerHook'),
            checkpoint=dict(type='CheckpointHook', interval=1, save_best='line/gap', rule='less'),
            sampler_seed=dict(type='DistSamplerSeedHook'),
        ),
        custom_hooks=[dict(type='Note', word='hello'), dict(type='EMAHook', ema_type='ExponentialMovingAverage')],
        env_cfg=dict(cudnn_benchmark=False, mp_cfg=dict(mp_start_method='fork'), dist_cfg=dict(backend='gloo')),
        log_processor=dict(by_epoch=True),
        log_level='INFO',
        load_from=None,
        resume=False,
    )
    return cfg | changes


def build(cfg: dict):
    forget_mmengine_globals()
    return build_runner(Config(lower(cfg)))


def hook_of(runner, kind):
    return next(hook for hook in runner.hooks if type(hook) is kind)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    runner = build(spec_config(tmp_path_factory.mktemp('run')))
    runner.train()
    return runner


def test_a_library_trains_as_its_config_stands(trained):
    assert trained.iter == 4
    assert trained.noted == 'hello'
    assert type(trained.model).__module__ == 'speclib.parts'
    assert trained.val_loop.metrics.keys() == {'line/gap'}
    assert (Path(trained.work_dir) / 'epoch_2.pth').is_file()


def test_what_mmengine_has_and_mmopt_as_well_is_mmopts(trained):
    assert type(trained.train_loop) is EpochBasedTrainLoop
    assert type(trained.val_loop) is ValLoop
    assert type(trained.optim_wrapper) is OptimWrapper
    assert type(trained.log_processor) is LogProcessor
    for kind in (CheckpointHook, LoggerHook, PeakMemoryHook, ParamSchedulerHook, EMAHook):
        assert hook_of(trained, kind)


def test_a_librarys_own_hook_goes_before_mmengines_of_the_same_name(trained):
    timers = [type(hook) for hook in trained.hooks if type(hook).__name__ == 'IterTimerHook']
    assert [kind.__module__ for kind in timers] == ['speclib.parts']
    assert IterTimerHook not in timers


def test_a_run_of_another_scope_resumes_bit_for_bit(trained, tmp_path):
    cfg = spec_config(tmp_path, load_from=str(Path(trained.work_dir) / 'epoch_1.pth'), resume=True)
    runner = build(cfg)
    runner.train()
    assert runner.iter == 4
    for name, value in trained.model.state_dict().items():
        assert torch.equal(runner.model.state_dict()[name], value), name


@pytest.mark.parametrize('scope', ['speclib', 'mmengine', 'nowhere'])
def test_types_of_mmopt_are_found_from_any_scope(scope):
    with DefaultScope.overwrite_default_scope(scope):
        assert DATA_SAMPLERS.get('ResumableSampler').__module__ == 'mmopt.datasets.common.sampler'
        assert MODELS.get('BiSeNetV2').__module__.startswith('mmopt.models')
        assert LOOPS.get('EpochBasedTrainLoop') is EpochBasedTrainLoop
        assert LOOPS.get('mmengine.EpochBasedTrainLoop') is EpochBasedTrainLoop
        assert LOOPS.get('mmengine.runner.EpochBasedTrainLoop') is EpochBasedTrainLoop
        assert HOOKS.get('mmopt.PeakMemoryHook') is PeakMemoryHook
        assert DATASETS.get('NoSuchDataset') is None


def test_a_class_in_the_place_of_a_name_means_the_same():
    from mmengine.hooks import CheckpointHook as Stock

    assert HOOKS.resolve(dict(type=Stock, interval=2)) == dict(type=CheckpointHook, interval=2)
    assert HOOKS.resolve(dict(type=EMAHook)) == dict(type=EMAHook)
    built = CheckpointHook()
    assert HOOKS.resolve(built) is built


def test_a_scope_of_one_section_is_looked_up_there():
    with DefaultScope.overwrite_default_scope('mmopt'):
        found = HOOKS.resolve(dict(type='IterTimerHook', _scope_='speclib'))
        assert found['type'].__module__ == 'speclib.parts'
        assert found['_scope_'] == 'speclib'
        assert HOOKS.resolve(dict(type='speclib.Note'))['type'].__name__ == 'Note'


def test_a_class_that_replaced_mmengines_in_its_registry_is_the_users():
    class LoggerHook2(LoggerHook):
        pass

    stock = root.HOOKS.module_dict['LoggerHook']
    root.HOOKS._module_dict['LoggerHook'] = LoggerHook2
    try:
        with DefaultScope.overwrite_default_scope('speclib'):
            assert HOOKS.get('LoggerHook') is LoggerHook2
    finally:
        root.HOOKS._module_dict['LoggerHook'] = stock


LOUD = dict(train_cfg=dict(type='LoudLoop', max_epochs=2), val_cfg=dict(type='OwnValLoop'))


def test_loops_of_a_library_run_as_they_are_and_resume(tmp_path):
    cfg = spec_config(tmp_path / 'whole', **LOUD)
    cfg['default_hooks']['timer'] = dict(type='mmengine.IterTimerHook')
    runner = build(cfg)
    runner.train()
    assert runner.train_loop.loud
    assert runner.iter == 4
    log = (tmp_path / 'whole' / 'latest.log').read_text()
    assert 'LoudLoop is no loop of mmopt and runs its iterations itself' in log
    assert 'time: ' in log
    again = build(spec_config(tmp_path / 'again', **LOUD, load_from=str(tmp_path / 'whole/epoch_1.pth'), resume=True))
    again.train()
    for name, value in runner.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value), name


def test_micro_batches_of_a_librarys_loop_are_refused(tmp_path):
    runner = build(spec_config(tmp_path, **LOUD, optimize=dict(micro_batch=2)))
    with pytest.raises(UserError, match='micro_batch=2: LoudLoop runs its iterations itself'):
        runner.train()


def test_a_runner_of_a_library_runs_as_it_is_and_says_what_is_missing(tmp_path, capsys):
    file = tmp_path / 'own.py'
    file.write_text(''.join(f'{key} = {value!r}\n' for key, value in spec_config(tmp_path / 'run').items()))
    summary = train(load_config(file, options=['runner_type=SpecRunner']))
    assert summary.iters == 4
    assert (tmp_path / 'run' / 'epoch_2.pth').is_file()
    assert 'SpecRunner is no runner of mmopt and runs as it is' in capsys.readouterr().out


@pytest.mark.parametrize('name', ['Runner', 'mmengine.Runner'])
def test_mmengines_runner_is_mmopts(name, tmp_path):
    assert type(build(spec_config(tmp_path, runner_type=name))) is IterBasedRunner


LAZY_BASE = """
from mmengine.dataset import DefaultSampler
from mmengine.hooks import CheckpointHook, LoggerHook
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop
from torch.optim import SGD

from speclib.parts import Head, Line, Pack, Regressor

model = dict(type=Regressor, head=dict(type=Head, in_features=1, out_features=1))
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    dataset=dict(type=Line, pipeline=[dict(type=Pack)]),
    sampler=dict(type=DefaultSampler, shuffle=True),
)
optim_wrapper = dict(type=OptimWrapper, optimizer=dict(type=SGD, lr=0.1))
default_hooks = dict(logger=dict(type=LoggerHook, interval=1), checkpoint=dict(type=CheckpointHook, interval=1))
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=1)
"""


def test_a_config_of_classes_and_imported_bases_trains(tmp_path):
    (tmp_path / 'base.py').write_text(LAZY_BASE)
    (tmp_path / 'child.py').write_text(
        'from mmengine.config import read_base\n\nwith read_base():\n    from .base import *\n\n'
        'train_cfg.update(max_epochs=2)\n'
    )
    cfg = load_config(
        tmp_path / 'child.py', work_dir=str(tmp_path / 'run'), options=['optim_wrapper.optimizer.lr=0.01']
    )
    runner = build_runner(cfg)
    runner.train()
    assert type(runner.train_loop) is EpochBasedTrainLoop
    assert type(runner.optim_wrapper) is OptimWrapper
    assert hook_of(runner, CheckpointHook)
    assert (tmp_path / 'run' / 'epoch_2.pth').is_file()
    assert runner.optim_wrapper.param_groups[0]['lr'] == 0.01


def test_a_loader_without_a_sampler_gets_the_usual_one(tmp_path):
    loader = dict(batch_size=4, dataset=LINE)
    runner = build(spec_config(tmp_path, train_dataloader=loader))
    runner.train()
    assert runner.train_dataloader.sampler.shuffle
    with pytest.raises(UserError, match=r"write sampler=dict\(type='DefaultSampler', shuffle=True\)"):
        runner.build_dataloader(loader, seed=0)


def test_half_precision_is_asked_for_by_the_name_of_mmengine(tmp_path):
    wrapper = dict(type='AmpOptimWrapper', optimizer=dict(type='SGD', lr=0.1), dtype='bfloat16')
    runner = build(spec_config(tmp_path, optim_wrapper=wrapper))
    runner.train()
    assert type(runner.optim_wrapper) is AmpOptimWrapper


def test_a_registry_of_a_library_may_name_a_module_that_is_not_there():
    with DefaultScope.overwrite_default_scope('speclib'):
        assert FUNCTIONS.get('pseudo_collate') is pseudo_collate
        assert FUNCTIONS.get('nobody_has_this') is None


def test_a_scope_that_nobody_knows_is_one_warning_with_the_nearest_name(tmp_path):
    path = tmp_path / 'native.py'
    path.write_text("default_scope = 'mmsegg'\nmodel = dict(type='ToyModel')\ntrain_cfg = dict(max_iters=1)\n")
    with pytest.warns(ConfigWarning, match="default_scope='mmsegg': no package.*Did you mean mmseg") as caught:
        load_config(path)
    assert len([warning for warning in caught if issubclass(warning.category, ConfigWarning)]) == 1


@pytest.mark.parametrize('scope', ['mmopt', 'mmengine', 'speclib', 'named_in_a_script'])
def test_a_scope_that_is_a_package_or_has_registered_something_is_known(scope):
    node = Registry('hook', parent=root.HOOKS, scope='named_in_a_script')
    try:
        assert is_known_scope(scope)
    finally:
        root.HOOKS.children.pop(node.scope)
    assert not is_known_scope('named_in_a_script')
    assert not is_known_scope('no.such.module')
