"""What MMEngine's Runner offers publicly is here with the same meaning: both run the same toy, and are compared."""

import inspect
import math
from types import SimpleNamespace

import mmengine.runner
import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, HOOKS, LOOPS, METRICS, MODELS
from mmengine.runner import Runner
from torch import nn

import mmopt.engine as ours
from mmopt.engine.logging.log_processor import LogProcessor
from tests.conftest import forget_mmengine_globals

LENGTHS = {
    'iterations': dict(by_epoch=False, max_iters=7, val_interval=3, val_begin=2),
    'epochs': dict(by_epoch=True, max_epochs=3, val_interval=2),
}


@DATASETS.register_module()
class Squares(torch.utils.data.Dataset):
    metainfo = dict(classes=('square',))

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict:
        return dict(inputs=torch.tensor([index / 8]), data_samples=torch.tensor([(index / 8) ** 2]))


@MODELS.register_module()
class Line(BaseModel):
    """A model that asks the message hub where the run is, as BoxInst of MMDetection does."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(1, 1)
        nn.init.constant_(self.line.weight, 0.5)
        nn.init.zeros_(self.line.bias)
        self.seen = []

    def forward(self, inputs, data_samples=None, mode='tensor'):
        pred = self.line(torch.stack(list(inputs)))
        if mode == 'predict':
            return list(pred)
        hub = MessageHub.get_current_instance()
        self.seen.append([hub.get_info(key) for key in ('iter', 'epoch', 'max_iters', 'max_epochs')])
        return dict(loss=(pred - torch.stack(list(data_samples))).square().mean(), bias=self.line.bias.sum())


@METRICS.register_module()
class Count(BaseMetric):
    default_prefix = ''

    def process(self, data_batch, data_samples):
        self.results += [len(data_samples)]

    def compute_metrics(self, results):
        return dict(count=sum(results))


@HOOKS.register_module()
class Record(Hook):
    """Note at every point what a hook of another library might ask."""

    priority = 'BELOW_NORMAL'

    def __init__(self) -> None:
        self.rows = []

    def note(self, runner, point: str, batch_idx: int | None = None) -> None:
        hub = runner.message_hub
        row = {key: getattr(runner, key) for key in ('iter', 'epoch', 'max_iters', 'max_epochs')}
        info = ('iter', 'epoch', 'max_iters', 'max_epochs', 'loop_stage', 'dataset_meta')
        row |= {f'info {key}': hub.get_info(key) for key in info}
        row |= dict(interval=runner.val_interval, begin=runner.val_begin)
        row['is current'] = MessageHub.get_current_instance() is hub
        if 'iter' in point:
            row['training'] = runner.model.training
        row |= {f'lr {name}': value for name, value in runner.optim_wrapper.get_lr().items()}
        for key in ('train/lr', 'train/loss', 'train/bias', 'val/count'):
            if key in hub.log_scalars:
                row[key] = [float(value) for value in hub.get_scalar(key).data[0]]
                row[f'{key} now'] = float(hub.get_scalar(key).current())
        row |= dict(loader=len(runner.train_dataloader), val_loader=len(runner.val_dataloader))
        self.rows.append((point, batch_idx, row))


def _at(point: str):
    def method(self, runner, batch_idx=None, **kwargs):
        self.note(runner, point, batch_idx)

    return method


POINTS = [f'{when}_{what}' for when in ('before', 'after') for what in ('train', 'train_epoch', 'train_iter')]
POINTS += [f'{when}_{what}' for when in ('before', 'after') for what in ('val', 'val_epoch', 'val_iter')]
for name in POINTS:
    setattr(Record, name, _at(name))


def config(work_dir, loop: dict, **changes) -> Config:
    loader = dict(dataset=dict(type='Squares'), num_workers=0, batch_size=2)
    sampler = dict(type='DefaultSampler' if loop['by_epoch'] else 'InfiniteSampler', shuffle=False)
    return Config(
        dict(
            work_dir=str(work_dir),
            model=dict(type='Line'),
            train_dataloader=dict(loader, sampler=sampler),
            val_dataloader=dict(loader, sampler=dict(type='DefaultSampler', shuffle=False)),
            val_evaluator=dict(type='Count'),
            train_cfg=loop,
            val_cfg=dict(),
            test_dataloader=dict(loader, sampler=dict(type='DefaultSampler', shuffle=False)),
            test_evaluator=dict(type='Count'),
            test_cfg=dict(),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.5)),
            param_scheduler=dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=4),
            custom_hooks=[dict(type='Record')],
            log_processor=dict(by_epoch=loop['by_epoch']),
            randomness=dict(seed=3),
            **changes,
        )
    )


def run(kind: type, work_dir, loop: dict, **changes):
    forget_mmengine_globals()
    runner = kind.from_cfg(config(work_dir, loop, **changes))
    runner.train()
    return runner


def build(work_dir, loop: dict, **changes):
    forget_mmengine_globals()
    return ours.IterBasedRunner.from_cfg(config(work_dir, loop, **changes))


def rows_of(runner) -> list:
    return next(hook for hook in runner.hooks if isinstance(hook, Record)).rows


@pytest.fixture(scope='module', params=LENGTHS)
def both(request, tmp_path_factory):
    """A run of MMEngine's runner and one of ours, with what their hooks have noted."""
    loop = LENGTHS[request.param]
    stock = run(Runner, tmp_path_factory.mktemp('stock'), loop)
    mine = run(ours.IterBasedRunner, tmp_path_factory.mktemp('ours'), loop)
    return SimpleNamespace(stock=stock, ours=mine)


def test_every_hook_sees_at_every_point_what_it_sees_with_mmengine(both):
    expected, got = rows_of(both.stock), rows_of(both.ours)
    assert [row[:2] for row in got] == [row[:2] for row in expected]
    for (point, batch_idx, row), (_, _, other) in zip(got, expected, strict=True):
        assert row.keys() == other.keys(), (point, batch_idx)
        for key, value in other.items():
            wanted = pytest.approx(value, rel=1e-5) if key.startswith(('train/', 'val/', 'lr')) else value
            assert row[key] == wanted, (point, batch_idx, key)


def test_a_model_reads_the_right_iteration_in_every_iteration(both):
    assert both.ours.model.seen == both.stock.model.seen
    assert [iteration for iteration, *_ in both.ours.model.seen] == list(range(both.ours.max_iters))


PROPERTIES = [name for name, value in vars(Runner).items() if isinstance(value, property)]


def test_every_property_of_mmengines_runner_has_its_meaning(both):
    assert len(PROPERTIES) > 20
    for name in PROPERTIES:
        mine, stock = getattr(both.ours, name), getattr(both.stock, name)
        if isinstance(stock, int | float | bool | None):
            assert (type(mine), mine) == (type(stock), stock), name
        elif isinstance(stock, str):  # paths, names with the time in them
            assert isinstance(mine, str), name
        elif name != 'hooks':
            base = next(kind for kind in type(stock).__mro__ if kind.__module__ != 'mmengine.runner.loops')
            assert isinstance(mine, base), name
    assert both.ours.work_dir in both.ours.log_dir
    assert both.ours.log_dir.endswith(both.ours.timestamp)
    assert both.ours.timestamp in both.ours.experiment_name
    names = [type(hook).__name__ for hook in both.ours.hooks]
    assert {type(hook).__name__ for hook in both.stock.hooks} - {'DistSamplerSeedHook'} <= set(names)


def test_every_public_attribute_of_mmengines_runner_is_there(both):
    wanted = {name: type(value) for name, value in vars(both.stock).items() if not name.startswith('_')}
    assert len(wanted) > 8
    for name, kind in wanted.items():
        assert hasattr(both.ours, name), name
        if not kind.__module__.startswith('mmengine.optim'):
            assert isinstance(getattr(both.ours, name), kind), name
    assert isinstance(both.ours.message_hub, MessageHub)


def parameters(function) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name not in ('args', 'kwargs')]


PAIRS = {
    ours.IterBasedRunner: Runner,
    ours.IterBasedTrainLoop: mmengine.runner.IterBasedTrainLoop,
    ours.EpochBasedTrainLoop: mmengine.runner.EpochBasedTrainLoop,
    ours.ValLoop: mmengine.runner.ValLoop,
    ours.TestLoop: mmengine.runner.TestLoop,
    LogProcessor: mmengine.runner.LogProcessor,
}
METHODS = [
    (mine, name)
    for mine, stock in PAIRS.items()
    for name, value in vars(stock).items()
    if callable(getattr(stock, name)) and not name.startswith('_') and not isinstance(value, property | type)
]
# Our runner passes on all that it is built with.
METHODS += [(mine, '__init__') for mine in PAIRS if mine is not ours.IterBasedRunner]


@pytest.mark.parametrize(('kind', 'name'), METHODS, ids=lambda item: getattr(item, '__name__', item))
def test_methods_take_what_mmengines_take_in_the_same_order(kind, name):
    wanted = parameters(getattr(PAIRS[kind], name))
    assert parameters(getattr(kind, name))[: len(wanted)] == wanted


def test_ranks_with_seeds_of_their_own_share_the_order_of_samples(monkeypatch):
    """MMEngine adds the rank to the seed then; a sampler needs the same on all ranks, or they read the same samples."""
    seeds = []
    for rank in (0, 1):
        monkeypatch.setattr('mmopt.engine.runner.get_rank', lambda rank=rank: rank)
        loader = dict(dataset=Squares(), batch_size=2, sampler=dict(type='DefaultSampler'), num_workers=0)
        built = ours.IterBasedRunner.build_dataloader(loader, seed=7 + rank, diff_rank_seed=True)
        seeds.append(built.sampler.seed)
    assert seeds == [7, 7]


@LOOPS.register_module()
class OwnIterations(ours.IterBasedTrainLoop):
    """Somebody's loop: a run of its own from MMEngine's parts."""

    def run(self) -> nn.Module:
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        while self.runner.iter < self._max_iters:
            self.run_iter(next(self.dataloader_iterator))
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model


@LOOPS.register_module()
class OwnEpochs(ours.EpochBasedTrainLoop):
    """Somebody's loop: an epoch of its own."""

    def run_epoch(self) -> None:
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        for index, batch in enumerate(self.dataloader):
            self.run_iter(index, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1
        self.epochs_done += 1


@pytest.mark.parametrize(
    ('own', 'loop'), [(OwnIterations, dict(max_iters=7)), (OwnEpochs, dict(max_epochs=3))], ids=['run', 'run_epoch']
)
def test_loops_derived_from_ours_with_mmengines_parts_train_the_same(tmp_path, own, loop):
    by_epoch = 'max_epochs' in loop
    states = []
    for kind in (own, own.__base__):
        cfg = config(tmp_path / kind.__name__, dict(loop, by_epoch=by_epoch, val_interval=100))
        scope = 'mmengine' if kind is own else 'mmopt'
        cfg.train_cfg = dict(loop, type=f'{scope}.{kind.__name__}', val_interval=100)
        forget_mmengine_globals()
        runner = ours.IterBasedRunner.from_cfg(cfg)
        runner.train()
        assert runner.iter == runner.max_iters
        states.append([value.item() for value in runner.model.parameters()])
        states[-1] += [row['train/loss'] for _, _, row in rows_of(runner)[-1:]]
    assert states[0] == states[1]


def test_the_iterator_of_an_iteration_based_run_has_no_end(tmp_path):
    cfg = config(tmp_path, LENGTHS['iterations'])
    cfg.train_dataloader.sampler.type = 'DefaultSampler'
    forget_mmengine_globals()
    batches = ours.IterBasedRunner.from_cfg(cfg).train_loop.dataloader_iterator
    firsts = [float(next(batches)['inputs'][0]) for _ in range(6)]
    assert firsts == [0, 2 / 8, 4 / 8, 6 / 8, 0, 2 / 8]


def test_what_was_loaded_or_resumed_before_train_stays(tmp_path):
    first = run(ours.IterBasedRunner, tmp_path / 'first', LENGTHS['iterations'])
    path = tmp_path / 'copy' / 'own.pth'
    first.save_checkpoint(str(path.parent), path.name, meta=dict(note='by hand'), by_epoch=False)
    again = build(tmp_path / 'again', dict(LENGTHS['iterations'], max_iters=9))
    again.resume(str(path))
    assert (again.iter, again.epoch) == (7, 0)
    again.train()
    whole = run(ours.IterBasedRunner, tmp_path / 'whole', dict(LENGTHS['iterations'], max_iters=9))
    assert torch.equal(again.model.line.weight, whole.model.line.weight)
    assert torch.load(path, weights_only=True)['meta']['note'] == 'by hand'


def test_a_checkpoint_without_optimizer_and_schedules_is_written_as_asked(tmp_path):
    runner = run(ours.IterBasedRunner, tmp_path, LENGTHS['iterations'])
    runner.save_checkpoint(tmp_path, 'bare.pth', save_optimizer=False, save_param_scheduler=False)
    parts = torch.load(tmp_path / 'bare.pth', weights_only=True)
    assert 'state_dict' in parts
    assert {'optimizer', 'param_schedulers'}.isdisjoint(parts)


def test_a_hook_that_was_replaced_or_patched_is_called(tmp_path):
    class Counter(Hook):
        def __init__(self) -> None:
            self.calls = 0

        def after_train_iter(self, *args, **kwargs):
            self.calls += 1

    runner = build(tmp_path, LENGTHS['iterations'])
    one, other, patched = Counter(), Counter(), Hook()
    for hook in (one, patched):
        runner.register_hook(hook)
    calls = []
    patched.before_train_iter = lambda *args, **kwargs: calls.append(1)
    runner.call_hook('after_load_checkpoint', checkpoint={})
    runner._hooks[runner._hooks.index(one)] = other
    runner.train()
    assert (one.calls, other.calls, len(calls)) == (0, 7, 7)


def test_a_log_line_may_average_over_more_than_the_hub_keeps(tmp_path):
    changes = dict(default_hooks=dict(runtime_info=dict(type='mmopt.RuntimeInfoHook', max_history=2)))
    cfg = config(tmp_path, LENGTHS['iterations'], **changes)
    cfg.log_processor = dict(
        type='mmopt.LogProcessor',
        by_epoch=False,
        custom_cfg=[dict(data_src='loss', method_name='mean', log_name='loss_all', window_size='global')],
    )
    forget_mmengine_globals()
    runner = ours.IterBasedRunner.from_cfg(cfg)
    runner.train()
    assert len(runner.message_hub.get_scalar('train/loss').data[0]) == 7
    assert not math.isnan(runner.message_hub.get_scalar('train/loss').mean(7))
