"""What MMEngine's classes of the same name take, ours take, and it has the same effect."""

import inspect
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.fileio import BaseStorageBackend, FileClient, register_backend
from mmengine.hooks import CheckpointHook as StockCheckpointHook
from mmengine.hooks import EarlyStoppingHook as StockEarlyStoppingHook
from mmengine.registry import Registry
from mmengine.runner import EpochBasedTrainLoop as StockEpochLoop
from mmengine.runner import IterBasedTrainLoop as StockIterLoop

import mmopt.registry as nodes
from mmopt.engine import checkpoint_io
from mmopt.engine.hooks import CheckpointHook, EarlyStoppingHook
from mmopt.engine.logging.log_processor import LogProcessor
from mmopt.engine.loops.evaluation_loops import ValLoop
from mmopt.engine.optim import AmpOptimWrapper
from mmopt.registry import LOOPS, MODELS
from mmopt.utils.errors import UserError
from tests.engine.hooks.test_checkpoint_hook import FakeRunner, names
from tests.engine.hooks.test_early_stopping import evaluations_until_stop
from tests.engine.test_runner import build
from tests.engine.toy import ToyModel, toy_config


def replaced() -> list[tuple[type, type]]:
    """Return every class of MMEngine in whose place ours is built, with ours."""
    pairs = []
    for name in nodes.__all__:
        node = getattr(nodes, name)
        if isinstance(node, Registry):
            node.import_from_location()
            node.parent.import_from_location()
            stock = node.parent.module_dict
            pairs += [
                (stock[key], ours)
                for key, ours in node.module_dict.items()
                if key in stock and stock[key].__module__.startswith('mmengine.')
            ]
    return pairs


def arguments(kind: type) -> dict[str, inspect.Parameter]:
    """Return what a class takes, through ``**kwargs`` up to its bases."""
    found: dict[str, inspect.Parameter] = {}
    for part in kind.__mro__:
        if '__init__' not in part.__dict__ or part is object:
            continue
        parameters = inspect.signature(part.__init__).parameters.values()
        for parameter in parameters:
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                found.setdefault(parameter.name, parameter)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return found


@pytest.mark.parametrize(('stock', 'ours'), replaced(), ids=lambda kind: kind.__name__)
def test_every_argument_is_there_with_its_default(stock, ours):
    known = arguments(ours)
    for name, parameter in arguments(stock).items():
        assert name in known, name
        # MMEngine's choice of what to average has its own name in ours: None.
        if (stock.__name__, name) not in {('LogProcessor', 'mean_pattern'), ('LoggerHook', 'out_suffix')}:
            assert known[name].default == parameter.default, name


def test_the_classes_that_are_replaced_are_known_by_name():
    """One more, and the page that lists them is out of date."""
    text = Path(__file__).parents[2].joinpath('docs/mmengine_projects.md').read_text()
    for stock, _ in replaced():
        assert f'`{stock.__name__}`' in text, stock.__name__


# ---------------------------------------------------------------- CheckpointHook
def trained(work_dir, scores=None, **options) -> list[str]:
    hook = CheckpointHook(**(dict(interval=3, by_epoch=False) | options))
    runner = FakeRunner(work_dir, hook)
    runner.train(scores)
    hook.after_train(runner)
    return [name for name in names(work_dir) if name.endswith('.pth')]


@pytest.mark.parametrize('begin', [0, 1, 2, 5])
@pytest.mark.parametrize('by_epoch', [True, False])
def test_saving_begins_where_mmengines_does(begin, by_epoch, tmp_path):
    interval = 1 if by_epoch else 3
    ours = trained(tmp_path, interval=interval, by_epoch=by_epoch, save_begin=begin, save_last=False)
    stock, runner = StockCheckpointHook(interval, by_epoch, save_begin=begin), FakeRunner(tmp_path, None)
    points = []
    for iteration in range(runner.max_iters):
        runner.iter, runner.epoch = iteration, iteration // runner.epoch_length
        if by_epoch:
            is_end = (runner.iter + 1) % runner.epoch_length == 0
            if is_end and stock.every_n_epochs(runner, interval, begin):
                points.append(f'epoch_{runner.epoch + 1}.pth')
        elif stock.every_n_train_iters(runner, interval, begin):
            points.append(f'iter_{runner.iter + 1}.pth')
    assert ours == sorted(points)


def test_a_checkpoint_can_go_without_the_schedules(tmp_path):
    whole, bare = toy_config(tmp_path / 'whole', max_iters=2), toy_config(tmp_path / 'bare', max_iters=2)
    for cfg in (whole, bare):
        cfg['param_scheduler'] = [dict(type='ConstantLR', factor=0.5, by_epoch=False)]
    bare['default_hooks']['checkpoint'] = dict(whole['default_hooks']['checkpoint'], save_param_scheduler=False)
    for cfg in (whole, bare):
        build(cfg).train()
    first, second = (checkpoint_io.load(tmp_path / name / 'iter_2.pth') for name in ('whole', 'bare'))
    assert first['param_schedulers']
    assert not second.get('param_schedulers')
    assert second['optimizer']


def test_key_words_tell_what_is_better(tmp_path):
    scores = {4: dict(x_gain=0.1, y_cost=2.0), 8: dict(x_gain=0.3, y_cost=1.0)}
    words = dict(greater_keys=['gain'], less_keys='cost')
    files = trained(tmp_path, scores, save_best=['x_gain', 'y_cost'], **words)
    assert {'best_x_gain_iter_8.pth', 'best_y_cost_iter_8.pth'} <= set(files)
    with pytest.raises(UserError, match='cannot tell whether more or less is better'):
        CheckpointHook(save_best='x_gain')


def test_one_rule_in_a_list_holds_for_all(tmp_path):
    scores = {4: dict(a=0.3, b=0.3), 8: dict(a=0.1, b=0.1)}
    assert 'best_b_iter_8.pth' in trained(tmp_path, scores, save_best=['a', 'b'], rule=['less'])


def test_published_files_hold_what_is_asked_for_and_carry_their_hash(tmp_path):
    scores = {4: dict(mIoU=0.3)}
    trained(tmp_path, scores, save_best='mIoU', published_keys=['meta', 'state_dict'])
    published = sorted(path for path in tmp_path.glob('*-????????.pth'))
    assert [path.name.rpartition('-')[0] for path in published] == ['best_mIoU_iter_4', 'iter_10']
    for path in published:
        assert set(torch.load(path, weights_only=True)) == {'meta', 'state_dict'}
        assert torch.hub.HASH_REGEX.search(path.name)


class ToyStore(BaseStorageBackend):
    """A store at addresses ``toy://...``, with a token as its argument."""

    files: dict[str, bytes] = {}

    def __init__(self, token: str = '') -> None:
        self.token = token

    def get(self, filepath):
        return self.files[filepath]

    def get_text(self, filepath):
        return self.files[filepath].decode()

    def put(self, obj, filepath):
        self.files[f'{filepath}{self.token}'] = bytes(obj)

    def put_text(self, obj, filepath):
        self.put(obj.encode(), filepath)

    def isfile(self, filepath):
        return f'{filepath}{self.token}' in self.files

    def remove(self, filepath):
        del self.files[f'{filepath}{self.token}']

    def join_path(self, filepath, *filepaths):
        return '/'.join([str(filepath), *filepaths])


@pytest.fixture
def store() -> dict[str, bytes]:
    register_backend('toy', ToyStore, force=True, prefixes='toy')
    FileClient.register_backend('toy', ToyStore, force=True, prefixes='toy')
    ToyStore.files.clear()
    return ToyStore.files


@pytest.mark.parametrize(
    ('options', 'token'),
    [
        ({}, ''),
        (dict(backend_args=dict(backend='toy', token='#1')), '#1'),
        (dict(file_client_args=dict(backend='toy')), ''),
    ],
)
def test_copies_go_to_a_store_and_leave_it_as_files_do(options, token, store, tmp_path):
    scores = {4: dict(mIoU=0.3), 8: dict(mIoU=0.5)}
    options = dict(options, out_dir='toy://bucket', max_keep_ckpts=1, save_best='mIoU')
    files = trained(tmp_path / 'run', scores, **options)
    assert sorted(store) == sorted(f'toy://bucket/run/{name}{token}' for name in files)
    assert 'best_mIoU_iter_8.pth' in files
    assert 'best_mIoU_iter_4.pth' not in files
    assert store[f'toy://bucket/run/iter_10.pth{token}'] == (tmp_path / 'run/iter_10.pth').read_bytes()


def test_the_older_word_for_a_backend_and_the_newer_exclude_each_other():
    with pytest.raises(ValueError, match='older word'):
        CheckpointHook(out_dir='toy://x', backend_args=dict(), file_client_args=dict())
    # A folder of this machine is one in either wording.
    assert CheckpointHook(out_dir='x', file_client_args=dict(backend='disk')).store is None


@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(out_dir='elsewhere', save_best='acc', greater_keys='acc', less_keys=['cost']),
        dict(save_best=['acc', 'mIoU'], rule=['greater', 'less'], file_client_args=dict(backend='disk')),
        dict(out_dir='toy://bucket', save_best='auto'),
    ],
)
def test_other_hooks_find_the_places_and_rules_where_mmengines_hook_has_them(options, tmp_path, store):
    if options.get('out_dir') == 'elsewhere':
        options = dict(options, out_dir=str(tmp_path / 'elsewhere'))
    names_of = ['key_indicators', 'rules', 'greater_keys', 'less_keys'] if options.get('save_best') else []
    seen = []
    for kind in (StockCheckpointHook, CheckpointHook):
        hook = kind(interval=3, by_epoch=False, **options)
        runner = FakeRunner(tmp_path / 'run', hook)
        runner.message_hub.update_info_dict(dict(best_ckpt='best_acc_iter_3.pth', best_ckpt_acc='best_acc_iter_3.pth'))
        hook.before_train(runner)
        found = {name: getattr(hook, name) for name in names_of if options.get(name) or not name.endswith('_keys')}
        found |= {name: getattr(hook, name, '') for name in ('out_dir', 'best_ckpt_path', 'best_ckpt_path_dict')}
        found |= {name: type(getattr(hook, name)) for name in ('file_client', 'file_backend')}
        seen.append(found)
    stock, ours = seen
    assert ours == stock


def test_the_path_of_the_best_follows_a_run(tmp_path):
    hook = CheckpointHook(by_epoch=False, save_best='auto')
    FakeRunner(tmp_path, hook).train({4: dict(mIoU=0.3), 8: dict(mIoU=0.5)})
    assert hook.best_ckpt_path == str(tmp_path / 'best_mIoU_iter_8.pth')
    assert (hook.key_indicators, hook.rules) == (['mIoU'], ['greater'])


def test_a_negative_beginning_is_refused():
    with pytest.raises(UserError, match='save_begin must not be negative'):
        CheckpointHook(save_begin=-1)


# ---------------------------------------------------------------- LoggerHook
def test_the_name_of_the_run_is_logged_every_so_often(tmp_path):
    cfg = toy_config(tmp_path, max_iters=4)
    cfg['default_hooks']['logger'] = dict(type='LoggerHook', interval=2, interval_exp_name=2)
    runner = build(cfg)
    runner.train()
    assert (tmp_path / 'latest.log').read_text().count(f'Exp name: {runner.experiment_name}') == 2


@pytest.mark.parametrize('keep_local', [True, False])
def test_logs_are_copied_to_another_place(keep_local, store, tmp_path):
    cfg = toy_config(tmp_path / 'run', max_iters=2)
    logger = dict(type='LoggerHook', interval=2, out_dir='toy://logs', keep_local=keep_local)
    cfg['default_hooks']['logger'] = dict(logger, backend_args=dict(backend='toy'))
    runner = build(cfg)
    runner.train()
    assert b'Iter(train) [2/2]' in store[f'toy://logs/run/{runner.timestamp}.log']
    assert any(name.endswith('.json') for name in store)
    assert (tmp_path / 'run' / f'{runner.timestamp}.log').is_file() == keep_local


def test_only_files_of_the_named_endings_are_copied(store, tmp_path):
    cfg = toy_config(tmp_path / 'run', max_iters=2)
    cfg['default_hooks']['logger'] = dict(type='LoggerHook', interval=2, out_dir='toy://logs', out_suffix='.json')
    build(cfg).train()
    assert store
    assert all(name.endswith('.json') for name in store)


# ---------------------------------------------------------------- EarlyStoppingHook
def stock_evaluations(scores: list[float], **options) -> int | None:
    hook, runner = StockEarlyStoppingHook(monitor='mIoU', **options), FakeRunner('.', None)
    for number, score in enumerate(scores, start=1):
        hook.after_val_epoch(runner, dict(mIoU=score))
        if runner.train_loop.stop_training:
            return number
    return None


@settings(max_examples=60, deadline=None)
@given(
    scores=st.lists(st.integers(0, 9).map(lambda tenths: tenths / 10), min_size=1, max_size=9),
    options=st.fixed_dictionaries(
        {},
        optional=dict(
            min_delta=st.sampled_from([0.05, 0.1, 0.3]),
            patience=st.integers(0, 4),
            rule=st.sampled_from(['greater', 'less']),
            stopping_threshold=st.sampled_from([0.2, 0.8]),
        ),
    ),
)
def test_a_run_stops_early_where_mmengine_stops_it(scores, options):
    assert evaluations_until_stop(scores, **dict(min_delta=0.1) | options) == stock_evaluations(scores, **options)


def test_a_missing_metric_is_an_error_only_if_that_is_asked_for():
    hook, runner = EarlyStoppingHook('mIoU'), FakeRunner('.', None)
    hook.before_train(runner)
    with pytest.warns(UserWarning, match="monitor='mIoU' is not among the metrics"):
        hook.after_val_epoch(runner, dict(aAcc=0.5))
    hook.strict = True
    with pytest.raises(UserError, match="monitor='mIoU' is not among the metrics"):
        hook.after_val_epoch(runner, dict(aAcc=0.5))


# ---------------------------------------------------------------- loops
def evaluated(tmp_path, stock: type | None, **loop) -> list[int]:
    """Train 12 iterations (2 epochs of 6), in a loop of MMEngine's if one is given; return when it evaluated."""
    by_epoch = 'max_epochs' in loop
    kind = ('Epoch' if by_epoch else 'Iter') + 'BasedTrainLoop'
    cfg = toy_config(tmp_path, by_epoch=by_epoch, val_cfg=dict(type='PointsLoop'))
    cfg['train_cfg'] = dict(loop, type=f'Stock{kind}' if stock else kind)
    cfg['train_dataloader']['sampler'] = dict(type='DefaultSampler', shuffle=True)
    runner = build(cfg)
    runner.train()
    return getattr(runner.val_loop, 'points', [])


@LOOPS.register_module(force=True)
class PointsLoop(ValLoop):
    """Note when it is called, and call nobody."""

    points: list[int]

    def run(self):
        self.points = [*getattr(self, 'points', ()), self.runner.epoch or self.runner.iter]
        return {}


class StockEpochBasedTrainLoop(StockEpochLoop):
    """MMEngine's, under a name that is not ours."""


class StockIterBasedTrainLoop(StockIterLoop):
    """MMEngine's, under a name that is not ours."""


LOOPS.register_module(module=StockEpochBasedTrainLoop, force=True)
LOOPS.register_module(module=StockIterBasedTrainLoop, force=True)


@pytest.mark.parametrize(
    'loop',
    [
        dict(max_iters=6),
        dict(max_iters=6, val_interval=2),
        dict(max_iters=6, val_interval=4),
        dict(max_iters=6, val_interval=2, val_begin=3),
        dict(max_iters=6, val_interval=2, val_begin=9),
        dict(max_iters=6, val_interval=5, dynamic_intervals=[(4, 1)]),
        dict(max_epochs=4),
        dict(max_epochs=4, val_interval=3),
        dict(max_epochs=5, val_interval=9, val_begin=2, dynamic_intervals=[(3, 2), (5, 1)]),
    ],
    ids=str,
)
def test_evaluations_come_when_mmengine_has_them(loop, tmp_path):
    assert evaluated(tmp_path / 'ours', None, **loop) == evaluated(tmp_path / 'stock', StockEpochLoop, **loop)


class PrecisionModel(ToyModel):
    """Says in which type it predicts, and which step asked."""

    def forward(self, inputs, data_samples=None, mode='tensor', normalizers=None):
        if mode == 'predict':
            self.predicted_in = self.out(torch.zeros(1, 16)).dtype
        return super().forward(inputs, data_samples, mode, normalizers)

    def test_step(self, data):
        self.tested = True
        return super().test_step(data)


MODELS.register_module(module=PrecisionModel, force=True)


@pytest.mark.parametrize(('fp16', 'dtype'), [(True, torch.float16), (False, torch.float32)])
def test_an_evaluation_can_have_its_own_precision(fp16, dtype, tmp_path):
    cfg = toy_config(tmp_path, max_iters=2, model=dict(type='PrecisionModel'), val_cfg=dict(type='ValLoop', fp16=fp16))
    runner = build(cfg)
    runner.train()
    assert runner.model.predicted_in is dtype


def test_a_test_is_a_models_test_step(tmp_path):
    cfg = toy_config(tmp_path, model=dict(type='PrecisionModel'))
    cfg |= dict(test_dataloader=cfg['val_dataloader'], test_evaluator=cfg['val_evaluator'], test_cfg=dict(fp16=True))
    runner = build(cfg)
    runner.test()
    assert runner.model.tested
    assert runner.model.predicted_in is torch.float16


# ---------------------------------------------------------------- the rest
def test_amp_without_a_type_is_fp16():
    wrapper = AmpOptimWrapper(optimizer=torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.1), dtype=None)
    assert wrapper.precision == 'fp16'
    with pytest.raises(ValueError, match='use_fsdp=True is for MMEngine'):
        AmpOptimWrapper(optimizer=wrapper.optimizer, use_fsdp=True)


def test_a_log_processor_needs_no_type(tmp_path):
    cfg = toy_config(tmp_path)
    cfg['log_processor'] = dict(window_size=3, by_epoch=False, num_digits=2)
    runner = build(cfg)
    assert type(runner.log_processor) is LogProcessor
    assert (runner.log_processor.window_size, runner.log_processor.num_digits) == (3, 2)


@pytest.mark.parametrize(
    'hook',
    [
        dict(type='SyncBuffersHook'),
        dict(type='DistSamplerSeedHook'),
        dict(type='EmptyCacheHook', after_iter=True, before_epoch=True),
        dict(type='EMAHook', momentum=0.5, begin_iter=1),
        dict(type='ProfilerHook', by_epoch=False, profile_times=2),
        dict(type='ProfilerHook', by_epoch=True, profile_times=1, on_trace_ready=dict(type='log_trace')),
        dict(type='EarlyStoppingHook', monitor='error', patience=5),
    ],
    ids=lambda hook: hook['type'],
)
@pytest.mark.parametrize('by_epoch', [True, False])
def test_hooks_of_mmengine_run(hook, by_epoch, tmp_path):
    runner = build(toy_config(tmp_path, by_epoch=by_epoch, max_iters=6, custom_hooks=[hook]))
    runner.train()
    assert runner.iter == runner.max_iters
