import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmopt.config.keys import POLICIES
from mmopt.engine.schedules.policies import LR_POLICIES, MOMENTUM_POLICIES
from mmopt.engine.schedules.schedulers import ClosedFormLR, ClosedFormMomentum
from mmopt.registry import PARAM_SCHEDULERS
from tests.engine.mmcv1_reference import ReferenceHook, run_reference


def make_optimizer(kind: str = 'SGD', lrs: tuple[float, ...] = (0.01, 0.002)) -> torch.optim.Optimizer:
    groups = [dict(params=[torch.nn.Parameter(torch.zeros(1))], lr=lr) for lr in lrs]
    options = dict(momentum=0.9) if kind == 'SGD' else dict(betas=(0.9, 0.99))
    return getattr(torch.optim, kind)(groups, **options)


def run_ours(scheduler, *, epoch_length: int, num_epochs: int, num_iters: int | None) -> list[list[float]]:
    max_iters = num_iters or epoch_length * num_epochs
    scheduler.set_horizon(epoch_length=epoch_length, max_iters=max_iters, max_epochs=num_epochs)
    values = []
    for _ in range(max_iters):
        values.append(scheduler.get_last_value())
        scheduler.step()
    return values


def assert_as_mmcv(kind: str, policy: str, keys: dict, *, optimizer: str = 'SGD', **length) -> None:
    ours, theirs = make_optimizer(optimizer), make_optimizer(optimizer)
    scheduler = (ClosedFormLR if kind == 'lr' else ClosedFormMomentum)(ours, policy, **keys)
    expected = run_reference(ReferenceHook(kind, policy, keys), theirs.param_groups, **length)
    actual = run_ours(scheduler, **length)
    assert len(actual) == len(expected)
    for i, (row, expected_row) in enumerate(zip(actual, expected, strict=True)):
        assert row == pytest.approx(expected_row, rel=1e-9, abs=1e-18), (i, policy, keys)


ratios = st.floats(0.01, 1.0)


@st.composite
def policies(draw, kind: str):
    """A policy with its keys, a run, and a warm-up, over all that MMCV accepts."""
    policy = draw(st.sampled_from(sorted(POLICIES['lr_config' if kind == 'lr' else 'momentum_config'])))
    iteration_only = policy in ('Cyclic', 'OneCycle')
    iter_based = draw(st.booleans())
    by_epoch = False if iteration_only or iter_based else draw(st.booleans())
    epoch_length, num_epochs = draw(st.integers(1, 7)), draw(st.integers(1, 9))
    num_iters = draw(st.integers(2, 60)) if iter_based else None
    total = (num_iters or epoch_length * num_epochs) if not by_epoch else num_epochs
    low = 'min_lr' if kind == 'lr' else 'min_momentum'
    minimum = draw(st.sampled_from([{low: 1e-4}, {low: 0.0}, {f'{low}_ratio': 0.05}]))
    keys = {}
    if policy == 'Step':
        steps = st.lists(st.integers(1, 60), min_size=1, max_size=4).map(sorted)
        keys = dict(step=draw(st.one_of(st.integers(1, 20), steps)), gamma=draw(ratios))
        keys |= draw(st.sampled_from([{}, {low: 1e-3}]))
    elif policy == 'Exp':
        keys = dict(gamma=draw(ratios))
    elif policy == 'Poly':
        keys = dict(power=draw(st.floats(0.1, 3)), min_lr=draw(st.sampled_from([0.0, 1e-4])))
    elif policy == 'Inv':
        keys = dict(gamma=draw(ratios), power=draw(st.floats(0.1, 3)))
    elif policy in ('CosineAnnealing', 'LinearAnnealing'):
        keys = minimum
    elif policy == 'FlatCosineAnnealing':
        keys = dict(start_percent=draw(st.floats(0.0, 0.99)), **minimum)
    elif policy == 'CosineRestart':
        periods = draw(st.lists(st.integers(1, 30), min_size=1, max_size=4))
        periods[-1] += max(0, total - sum(periods))
        keys = dict(periods=periods, restart_weights=[draw(ratios) for _ in periods], **minimum)
    elif policy == 'Cyclic':
        keys = dict(
            target_ratio=draw(st.sampled_from([(10, 1e-4), (0.85 / 0.95, 1), 5.0, (3.0,)])),
            cyclic_times=draw(st.integers(1, min(3, total))),
            step_ratio_up=draw(st.floats(0, 0.99)),
            anneal_strategy=draw(st.sampled_from(['cos', 'linear'])),
            gamma=draw(ratios),
        )
    elif policy == 'OneCycle':
        keys = dict(
            # Above 2 / total, so that each phase has a positive length: MMCV divides by it.
            pct_start=draw(st.floats(0.3, 0.5)),
            anneal_strategy=draw(st.sampled_from(['cos', 'linear'])),
            three_phase=draw(st.booleans()),
        )
        num_iters = num_iters and num_iters + 8
        epoch_length += 8
        if kind == 'lr':
            total = num_iters or epoch_length * num_epochs
            keys |= dict(max_lr=0.1, div_factor=draw(st.floats(2, 30)), final_div_factor=1e3)
            keys |= draw(st.sampled_from([{}, dict(total_steps=total + 5)]))
    elif policy == 'YOLOX':
        keys = dict(num_last_epochs=draw(st.integers(0, 3)), **minimum)
    warmup = draw(st.sampled_from([None, 'constant', 'linear', 'exp']))
    if policy == 'YOLOX':
        # A cosine over less than nothing divides by zero in MMCV: leave it at least one iteration.
        warmup, by_epoch = draw(st.sampled_from([None, 'exp'])), False
        epoch_length, num_epochs, num_iters = epoch_length + 1, num_epochs + 8, None
    if warmup is not None:
        keys |= dict(warmup=warmup, warmup_iters=draw(st.integers(1, 12)), warmup_ratio=draw(ratios))
        if kind == 'lr' and num_iters is None and draw(st.booleans()):
            keys |= dict(warmup_by_epoch=True, warmup_iters=draw(st.integers(1, 3)))
        elif policy == 'YOLOX':
            keys['warmup_iters'] = draw(st.integers(1, 3))
    keys['by_epoch'] = by_epoch
    return policy, keys, dict(epoch_length=epoch_length, num_epochs=num_epochs, num_iters=num_iters)


@given(case=policies('lr'))
@settings(max_examples=400, deadline=None)
def test_every_learning_rate_of_every_policy_equals_mmcv(case):
    policy, keys, length = case
    assert_as_mmcv('lr', policy, keys, **length)


@given(case=policies('momentum'), optimizer=st.sampled_from(['SGD', 'AdamW']))
@settings(max_examples=200, deadline=None)
def test_every_momentum_of_every_policy_equals_mmcv(case, optimizer):
    policy, keys, length = case
    assert_as_mmcv('momentum', policy, keys, optimizer=optimizer, **length)


def values_of(policy: str, num_iters: int = 10, lr: float = 1.0, **keys) -> list[float]:
    scheduler = ClosedFormLR(make_optimizer(lrs=(lr,)), policy, by_epoch=False, **keys)
    return [row[0] for row in run_ours(scheduler, epoch_length=1, num_epochs=num_iters, num_iters=num_iters)]


def test_poly_with_a_minimum_and_a_linear_warmup_by_hand():
    values = values_of('poly', power=1.0, min_lr=0.2, warmup='linear', warmup_iters=2, warmup_ratio=0.5)
    # Iteration 0: regular 1.0 x 0.5; 1: (0.8 x 0.9 + 0.2) x 0.75; 2: 0.8 x 0.8 + 0.2, no warm-up any more.
    assert values[:3] == pytest.approx([0.5, 0.92 * 0.75, 0.84])
    assert values[9] == pytest.approx(0.8 * 0.1 + 0.2)


def test_step_by_hand():
    assert values_of('step', step=[3, 5]) == pytest.approx([1, 1, 1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.01, 0.01])


def test_a_step_minimum_clips_before_the_warmup():
    values = values_of('step', step=[1], gamma=0.1, min_lr=0.5, warmup='constant', warmup_iters=2, warmup_ratio=0.1)
    assert values[:3] == pytest.approx([0.1, 0.05, 0.5])


def test_cosine_by_hand():
    values = values_of('CosineAnnealing', min_lr=0.0)
    assert values[5] == pytest.approx(0.5)
    assert values[1] == pytest.approx((1 + math.cos(math.pi / 10)) / 2)


def test_the_learning_rate_of_an_epoch_policy_changes_at_epochs_only():
    scheduler = ClosedFormLR(make_optimizer(lrs=(1.0,)), 'Poly')
    rows = run_ours(scheduler, epoch_length=3, num_epochs=2, num_iters=None)
    assert [row[0] for row in rows] == pytest.approx([1, 1, 1, 0.5, 0.5, 0.5])


def test_momentum_begins_high_in_its_warmup():
    scheduler = ClosedFormMomentum(
        make_optimizer('AdamW'), 'Step', by_epoch=False, step=[99], warmup='constant', warmup_iters=1
    )
    rows = run_ours(scheduler, epoch_length=1, num_epochs=2, num_iters=2)
    assert [row[0] for row in rows] == pytest.approx([1.0, 0.9])
    assert scheduler.optimizer.param_groups[0]['betas'][1] == 0.99


def test_a_resumed_run_goes_on_with_the_initial_rate_of_the_checkpoint():
    straight = values_of('poly', num_iters=8, lr=0.1)
    first = make_optimizer(lrs=(0.1,))
    scheduler = ClosedFormLR(first, 'poly', by_epoch=False)
    scheduler.set_horizon(epoch_length=8, max_iters=8, max_epochs=1)
    for _ in range(3):
        scheduler.step()
    saved, state = copy.deepcopy(first.state_dict()), scheduler.state_dict()

    second = make_optimizer(lrs=(7.0,))
    second.load_state_dict(saved)
    resumed = ClosedFormLR(second, 'poly', by_epoch=False)
    resumed.load_state_dict(state)
    resumed.set_horizon(epoch_length=8, max_iters=8, max_epochs=1)
    values = []
    for _ in range(3, 8):
        values.append(resumed.get_last_value()[0])
        resumed.step()
    assert values == straight[3:]


def test_an_optimizer_loaded_after_the_scheduler_was_built_counts_as_well():
    first = make_optimizer(lrs=(0.1,))
    ClosedFormLR(first, 'poly', by_epoch=False)
    second = make_optimizer(lrs=(7.0,))
    scheduler = ClosedFormLR(second, 'poly', by_epoch=False)
    second.load_state_dict(first.state_dict())
    scheduler.set_horizon(epoch_length=8, max_iters=8, max_epochs=1)
    scheduler.set_iteration(4)
    assert second.param_groups[0]['lr'] == pytest.approx(0.05)


def test_the_state_is_plain_and_survives_weights_only_loading(tmp_path):
    scheduler = ClosedFormLR(make_optimizer(), 'CosineAnnealing', min_lr=0.0)
    scheduler.set_horizon(epoch_length=2, max_iters=8, max_epochs=4)
    scheduler.step()
    torch.save(scheduler.state_dict(), tmp_path / 'state.pth')
    assert torch.load(tmp_path / 'state.pth', weights_only=True) == dict(last_step=1)


def test_values_stay_after_the_last_iteration():
    scheduler = ClosedFormLR(make_optimizer(lrs=(1.0,)), 'CosineRestart', by_epoch=False, periods=[4], min_lr=0.0)
    rows = run_ours(scheduler, epoch_length=4, num_epochs=1, num_iters=4)
    scheduler.step()
    assert scheduler.get_last_value() == rows[-1]


def test_stepping_without_an_optimizer_step_is_silent():
    scheduler = ClosedFormLR(make_optimizer(), 'fixed', by_epoch=False)
    scheduler.set_horizon(epoch_length=2, max_iters=4, max_epochs=2)
    scheduler.step()
    scheduler.step()


def test_mmengine_builds_it_from_the_registry():
    cfg = dict(type='ClosedFormLR', policy='poly', by_epoch=False, power=0.9)
    scheduler = PARAM_SCHEDULERS.build(cfg, default_args=dict(optimizer=make_optimizer(), epoch_length=3))
    assert isinstance(scheduler, ClosedFormLR)
    assert not scheduler.by_epoch  # MMEngine's hook must step it every iteration


def test_the_schema_knows_exactly_the_keys_of_the_policies():
    from dataclasses import fields

    for known, classes, prefix in (
        (POLICIES['lr_config'], LR_POLICIES, 'min_lr'),
        (POLICIES['momentum_config'], MOMENTUM_POLICIES, 'min_momentum'),
    ):
        assert set(known) == set(classes)
        for name, keys in known.items():
            renamed = {'minimum': prefix, 'minimum_ratio': f'{prefix}_ratio'}
            assert set(keys) == {renamed.get(field.name, field.name) for field in fields(classes[name])}, name


@pytest.mark.parametrize(
    ('policy', 'keys', 'message'),
    [
        ('Polly', {}, 'did you mean Poly'),
        ('Poly', dict(min_lr_ratio=0.1), "Policy Poly has no key 'min_lr_ratio'; it takes power, min_lr"),
        ('CosineAnnealing', {}, 'needs exactly one of the minimum'),
        ('Exp', {}, 'Policy Exp: .*gamma'),
        ('CosineRestart', dict(periods=[3, 4], min_lr=0.0), 'lists of the same length'),
        ('Cyclic', dict(by_epoch=True), 'by iteration only; write by_epoch=False'),
        ('Poly', dict(begin=3), 'begin must be 0, got 3'),
    ],
)
def test_a_wrong_policy_is_refused(policy, keys, message):
    with pytest.raises(ValueError, match=message):
        ClosedFormLR(make_optimizer(), policy, **keys)


@pytest.mark.parametrize(
    ('policy', 'keys', 'message'),
    [
        ('Cyclic', dict(cyclic_times=5), '5 cycles do not fit into 4 iterations'),
        ('OneCycle', dict(max_lr=1.0, total_steps=3), 'total_steps=3 is shorter than the run of 4'),
        ('CosineRestart', dict(periods=[2], min_lr=0.0), r'periods \[2\] cover 2 of 4 iterations'),
        ('OneCycle', dict(max_lr=[1.0]), 'max_lr has 1 values but there is a parameter group 1'),
    ],
)
def test_a_run_that_a_policy_cannot_cover_is_refused(policy, keys, message):
    with pytest.raises(ValueError, match=message):
        ClosedFormLR(make_optimizer(), policy, by_epoch=False, **keys).set_horizon(
            epoch_length=4, max_iters=4, max_epochs=1
        )


def test_an_optimizer_without_momentum_is_named():
    optimizer = torch.optim.Adagrad([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    with pytest.raises(ValueError, match='needs an optimizer with momentum or betas'):
        ClosedFormMomentum(optimizer, 'Step', step=[1], by_epoch=False)
