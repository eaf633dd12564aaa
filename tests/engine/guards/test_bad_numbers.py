"""A loss that is not finite: named with its cause, skipped without a trace, or left behind by a rollback."""

import math

import pytest
import torch
from mmengine.hooks import Hook
from torch import nn

from mmopt.apis.logs.read import read_run
from mmopt.engine.checkpoint_io import find_latest
from mmopt.engine.guards.bad_numbers import BadNumberError, BadNumberGuard, BadNumberPolicy
from mmopt.engine.optim import OptimWrapper
from mmopt.registry import DATASETS, HOOKS, MODELS
from mmopt.utils.errors import UserError
from tests.engine.test_runner import build, state_of
from tests.engine.toy import ToyDataset, ToyModel, toy_config

BAD_SAMPLES: set[int] = set()


@DATASETS.register_module(force=True)
class BrokenToyDataset(ToyDataset):
    """Gives NaN for the samples of ``BAD_SAMPLES``."""

    def prepare_data(self, idx):
        packed = super().prepare_data(idx)
        packed['data_samples'].set_metainfo(dict(img_path=f'images/{int(idx)}.jpg'))
        if int(idx) in BAD_SAMPLES:
            packed['inputs'][0] = math.nan
        return packed


@MODELS.register_module(force=True)
class NormedToyModel(ToyModel):
    """The toy model with BatchNorm, whose statistics a NaN would spoil for good."""

    def __init__(self, **kwargs) -> None:
        super().__init__(dropout=0.0, **kwargs)
        self.norm = nn.BatchNorm1d(16)


@MODELS.register_module(force=True)
class ExplodingToyModel(ToyModel):
    """Its loss is infinite after a large step, from the fourth on: at a high learning rate, not at a low one."""

    calls = 0
    before = None

    def forward(self, inputs, data_samples=None, mode='tensor', normalizers=None):
        result = super().forward(inputs, data_samples, mode, normalizers)
        if mode == 'loss':
            self.calls += 1
            bias = self.out.bias.detach().clone()
            exploded = self.calls > 3 and self.before is not None and bool((bias - self.before).abs() > 0.01)
            self.before = None if exploded else bias
            if exploded:
                result['loss_fit'] = result['loss_fit'] * math.inf
        return result


@pytest.fixture
def bad_samples():
    BAD_SAMPLES.clear()
    yield BAD_SAMPLES
    BAD_SAMPLES.clear()


def config(work_dir, action: str, model: str = 'ToyModel', **changes) -> dict:
    options = changes.pop('options', {})
    changes.setdefault('max_iters', 6)
    cfg = toy_config(work_dir, **changes)
    cfg['train_dataloader']['dataset']['type'] = 'BrokenToyDataset'
    cfg['model']['type'] = model
    cfg['train_cfg']['bad_numbers'] = dict(action=action, **options)
    return cfg


def samples_of(iteration: int) -> list[int]:
    """Return what the third iteration and so on will read."""
    from mmopt.datasets.common import ResumableSampler

    sampler = iter(ResumableSampler(range(24), seed=5, endless=True))
    return [int(next(sampler)) for _ in range(4 * iteration)][-4:]


def test_raise_names_everything_that_is_known(tmp_path, bad_samples):
    third = samples_of(3)
    bad_samples.add(third[1])
    with pytest.raises(BadNumberError) as caught:
        build(config(tmp_path, 'raise')).train()
    lines = str(caught.value).splitlines()
    assert lines[0] == 'The loss of iteration 3 is not finite: loss nan, loss_fit nan; learning rate 0.01.'
    assert lines[1] == f'  Samples: {", ".join(f"images/{number}.jpg" for number in third)}.'
    assert lines[2].endswith(f'inputs of the batch has values that are not finite, in: images/{third[1]}.jpg.')
    assert lines[3] == (
        '  First output that is not finite: hidden (Linear), 16 of 64 values; its inputs are not finite, its weights '
        'are finite.'
    )
    assert "bad_numbers=dict(action='skip') or 'rollback'" in lines[4]


def test_the_model_is_untouched_when_it_is_raised(tmp_path, bad_samples):
    bad_samples.add(samples_of(3)[0])
    runner = build(config(tmp_path, 'raise'))
    with pytest.raises(BadNumberError):
        runner.train()
    assert all(torch.isfinite(value).all() for value in state_of(runner).values())


def test_the_first_bad_module_is_named_where_inputs_and_weights_are_finite(tmp_path):
    runner = build(config(tmp_path, 'raise', optim_wrapper=dict(type='AmpOptimWrapper', dtype='float16')))
    with torch.no_grad():
        runner.model.out.weight.fill_(6e4)  # times 16 activations: past the 65504 of fp16
    with pytest.raises(
        BadNumberError, match=r'loss scale 65536.\n(.*\n)*.*not finite: out \(Linear\), 4 of 4'
    ) as caught:
        runner.train()
    assert 'its inputs are finite, its weights are finite' in str(caught.value)


def test_weights_that_are_not_finite_are_told_from_a_bad_batch(tmp_path):
    runner = build(config(tmp_path, 'raise'))
    with torch.no_grad():
        runner.model.hidden.weight[0, 0] = math.nan
    with pytest.raises(
        BadNumberError, match=r'1 weights are not finite before this iteration, the first is hidden.wei'
    ):
        runner.train()


@pytest.mark.parametrize('accumulation', [1, 3])
def test_skip_leaves_no_trace_of_the_iteration(tmp_path, bad_samples, accumulation):
    """Not even in the statistics of BatchNorm."""
    bad_samples.add(samples_of(2)[0])
    wrapper = dict(optimizer=dict(type='SGD', lr=0.01), accumulative_counts=accumulation)
    cfg = config(tmp_path, 'skip', 'NormedToyModel', optim_wrapper=wrapper, max_iters=2 if accumulation == 1 else 3)
    cfg['model'].pop('dropout', None)
    runner = build(cfg)
    runner.train()
    logged = read_run(tmp_path).train['loss'] if accumulation == 3 else []
    assert all(math.isfinite(value) for _, value in logged)
    assert all(torch.isfinite(value).all() for value in state_of(runner).values())
    assert int(runner.model.norm.num_batches_tracked) == (1 if accumulation == 1 else 2)
    assert 'The loss of iteration 2 is not finite' in (tmp_path / 'latest.log').read_text()
    assert runner.train_loop.step.guard.num_skipped == 1
    assert '1 iteration was skipped' in (tmp_path / 'latest.log').read_text()


def test_too_many_skips_in_a_row_end_the_run(tmp_path, bad_samples):
    bad_samples |= set(range(24))
    with pytest.raises(BadNumberError, match='More than bad_numbers.max_in_a_row=2 iterations followed one another'):
        build(config(tmp_path, 'skip', options=dict(max_in_a_row=2))).train()


def test_rollback_goes_on_from_the_last_checkpoint_with_a_lower_learning_rate(tmp_path):
    ema = dict(type='EMAHook', ema_type='LinearWarmupEMA', momentum=0.1, warm_up=4)
    changes = dict(
        custom_hooks=[ema],
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.15)),
        param_scheduler=[dict(type='ClosedFormLR', policy='Fixed', by_epoch=False)],
        max_iters=12,
    )
    options = dict(lr_factor=0.002, max_rollbacks=2)
    runner = build(config(tmp_path, 'rollback', 'ExplodingToyModel', options=options, **changes))
    runner.train()
    text = (tmp_path / 'latest.log').read_text()
    assert 'with 0.002 times its learning rate (rollback 1 of 2)' in text
    assert runner.train_loop.iters_done == 12
    rates = dict(read_run(tmp_path).train['lr'])
    assert rates[12] == pytest.approx(0.15 * 0.002)
    assert sorted(rates) == [2, 4, 6, 8, 10, 12]
    state = torch.load(tmp_path / 'iter_12.pth', weights_only=True)
    assert state['optimizer']['param_groups'][0]['lr'] == pytest.approx(0.15 * 0.002)
    assert all(torch.isfinite(value).all() for value in state['ema_state_dict'].values())


def test_rollback_without_a_checkpoint_or_without_an_end_says_so(tmp_path, bad_samples):
    bad_samples.add(samples_of(1)[0])
    with pytest.raises(BadNumberError, match='There is no checkpoint yet to roll back to'):
        build(config(tmp_path / 'a', 'rollback')).train()
    bad_samples.clear()
    bad_samples.add(samples_of(4)[0])
    with pytest.raises(BadNumberError, match=r'bad_numbers.max_rollbacks=2 are used up'):
        build(config(tmp_path / 'b', 'rollback', options=dict(max_rollbacks=2))).train()
    text = (tmp_path / 'b' / 'latest.log').read_text()
    assert 'with 0.5 times its learning rate' in text
    assert 'with 0.25 times its learning rate' in text


def test_a_good_iteration_ends_the_count_in_a_row():
    model = nn.Linear(1, 1)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    said = []
    guard = BadNumberGuard(
        BadNumberPolicy('skip', max_in_a_row=1), model, wrapper, iters_done=lambda: 0, warn=said.append
    )
    for value in (math.nan, 1.0, math.inf, 1.0):
        guard.begin()
        guard.watch(torch.tensor(value))
        if guard.is_bad():
            guard.act(dict(loss=torch.tensor(value)), {}, lambda: {})
    assert guard.num_skipped == len(said) == 2


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
def test_one_bad_micro_batch_among_any_number_is_found_and_forgotten(dtype):
    model = nn.Linear(1, 1)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    guard = BadNumberGuard(BadNumberPolicy(), model, wrapper, iters_done=lambda: 0, warn=print)
    for number in (200, 3, 200):
        for bad in (None, 0, number // 2, number - 1):
            guard.begin()
            for place in range(number):
                guard.watch(torch.tensor(math.inf if place == bad else 1.0, dtype=dtype, requires_grad=True))
            assert guard.is_bad() is (bad is not None)


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        (dict(action='ignore'), "bad_numbers.action must be one of 'raise', 'skip', 'rollback', got 'ignore'"),
        (dict(max_in_a_row=0), 'max_in_a_row and max_rollbacks must be at least 1, got 0 and 3'),
        (dict(lr_factor=2.0), r'bad_numbers.lr_factor must be in \(0, 1\], got 2.0'),
    ],
)
def test_wrong_options_name_themselves(options, text):
    with pytest.raises(UserError, match=text):
        BadNumberPolicy(**options)


@pytest.mark.gpu
def test_the_check_waits_for_the_forward_pass_alone():
    """No device synchronization, and the answer comes while a long backward pass is still running."""
    model = nn.Linear(8, 8).cuda()
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    guard = BadNumberGuard(BadNumberPolicy('skip'), model, wrapper, iters_done=lambda: 0, warn=print)
    weights = torch.randn(8192, 8192, device='cuda')
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode('error')
    try:
        for value, expected in ((1.0, False), (math.nan, True), (1.0, False)):
            guard.begin()
            loss = model(torch.ones(1, 8, device='cuda')).sum() * value
            guard.watch(loss)
            for _ in range(40):  # stands for the backward pass
                weights @ weights
            done = torch.cuda.Event()
            done.record()
            assert guard.is_bad() is expected
            assert not done.query()
            done.synchronize()
    finally:
        torch.cuda.set_sync_debug_mode('default')


@HOOKS.register_module(force=True)
class SpoilWeights(Hook):
    """Make a weight NaN after an iteration, the first time that it comes."""

    def __init__(self, after: int, layer: str = 'hidden') -> None:
        self.after = after
        self.layer = layer

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.after:
            self.after = -1
            with torch.no_grad():
                getattr(runner.model, self.layer).weight[0, 0] = math.nan


@pytest.mark.parametrize('action', ['raise', 'skip'])
@pytest.mark.parametrize('after', [3, 4, 6])
def test_bad_weights_end_the_run_and_are_saved_nowhere(tmp_path, action, after):
    """Found by the next loss, by the next checkpoint, or by the last one."""
    cfg = config(tmp_path, action, custom_hooks=[dict(type='SpoilWeights', after=after)])
    cfg['default_hooks']['checkpoint'] |= dict(save_best='error', rule='less', max_keep_ckpts=1)
    with pytest.raises(BadNumberError, match='not finite'):
        build(cfg).train()
    saved = sorted(tmp_path.glob('*.pth'))
    assert find_latest(tmp_path).name == ('iter_4.pth' if after == 6 else 'iter_2.pth')
    for path in saved:
        weights = torch.load(path, weights_only=True)['state_dict']
        assert all(torch.isfinite(value).all() for value in weights.values()), path


def test_bad_weights_are_skipped_not_even_once(tmp_path):
    cfg = config(tmp_path, 'skip', custom_hooks=[dict(type='SpoilWeights', after=3)])
    with pytest.raises(BadNumberError, match='weights are not finite after iteration 3: hidden.weight. They are not'):
        build(cfg).train()


def test_a_rollback_leaves_bad_weights_behind_before_they_are_saved(tmp_path):
    runner = build(config(tmp_path, 'rollback', custom_hooks=[dict(type='SpoilWeights', after=4)]))
    runner.train()
    assert runner.train_loop.iters_done == 6
    assert all(torch.isfinite(value).all() for value in state_of(runner).values())
    assert 'rollback 1 of 3' in (tmp_path / 'latest.log').read_text()
