"""Whole runs of MMCV-1.x configs, against mmcv's run retold in plain PyTorch."""

import json
from pathlib import Path

import pytest
import torch

from mmopt.engine.checkpoint_io import load
from tests.engine.dialect import EPOCH_BASED, ITER_BASED, OPTIONS, build, record_of
from tests.engine.mmcv1_reference import ReferenceHook
from tests.engine.mmcv1_run import LiteralRun
from tests.engine.toy import ToyModel

EMA = dict(type='EMAHook', momentum=0.3, interval=2, warm_up=4)


def literal(initial: dict, *, by_epoch: bool, ema: dict | None = None) -> LiteralRun:
    """The two configs as mmcv would run them, by hand."""
    model = ToyModel(dropout=0.0)
    model.load_state_dict(initial)
    if by_epoch:
        hooks = [
            ReferenceHook('lr', 'Step', {k: v for k, v in EPOCH_BASED['lr_config'].items() if k != 'policy'}),
            ReferenceHook('momentum', 'Step', dict(step=[2], gamma=0.8)),
        ]
        return LiteralRun(
            model, dict(type='AdamW', betas=(0.9, 0.99)), OPTIONS, hooks, epoch_length=5, max_iters=15, by_epoch=True,
            cumulative_iters=4, grad_clip=dict(max_norm=0.3, norm_type=2), ema=ema,
        )  # fmt: skip
    hooks = [
        ReferenceHook('lr', 'Poly', {k: v for k, v in ITER_BASED['lr_config'].items() if k != 'policy'}),
        ReferenceHook('momentum', 'Cyclic', dict(target_ratio=(0.85 / 0.95, 1), cyclic_times=1, step_ratio_up=0.4)),
    ]
    return LiteralRun(
        model, dict(type='SGD', momentum=0.9), OPTIONS, hooks, epoch_length=6, max_iters=11, by_epoch=False,
        cumulative_iters=3, grad_clip=dict(max_norm=0.5, norm_type=2), ema=ema,
    )  # fmt: skip


def assert_close(actual: dict, expected: dict) -> None:
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, rtol=2e-5, atol=2e-6)


def lines_of(work_dir: Path) -> dict[int, float]:
    rows = [json.loads(line) for path in work_dir.glob('*/vis_data/*.json') for line in path.read_text().splitlines()]
    return {row['step']: row['loss'] for row in rows if 'loss' in row}


@pytest.fixture(scope='module', params=[False, True], ids=['iterations', 'epochs'])
def whole(request, tmp_path_factory):
    """An uninterrupted run of each config, with its record."""
    folder = tmp_path_factory.mktemp('whole')
    runner = build(folder, EPOCH_BASED if request.param else ITER_BASED)
    runner.train()
    return request.param, runner, record_of(runner), folder / 'run'


def test_every_group_has_mmcvs_learning_rate_and_momentum_at_every_iteration(whole):
    by_epoch, runner, record, _ = whole
    run = literal(record.initial, by_epoch=by_epoch)
    run.train(record.batches)
    assert len(record.settings) == len(run.settings) == (15 if by_epoch else 11)
    for ours, theirs in zip(record.settings, run.settings, strict=True):
        assert ours.keys() == theirs.keys()
        for name, values in theirs.items():
            assert ours[name] == pytest.approx(values, rel=1e-9)
    # Equal groups are merged: weights, biases, norms, the head.
    assert len(runner.optim_wrapper.optimizer.param_groups) == 4


def test_a_few_of_the_numbers_by_hand(whole):
    by_epoch, _, record, _ = whole
    hidden = [settings['hidden.weight'] for settings in record.settings]
    if by_epoch:
        # Warm-up over the first epoch, then halved at epochs 1 and 2; the first beta falls at epoch 2.
        assert hidden[0] == pytest.approx((0.02 * 0.1, 0.9))
        assert hidden[1][0] == pytest.approx(0.02 * 0.1**0.8)
        assert hidden[5] == pytest.approx((0.01, 0.9))
        assert hidden[10] == pytest.approx((0.005, 0.72))
        assert record.settings[10]['out.bias'][0] == pytest.approx(0.0005)
    else:
        assert hidden[0] == pytest.approx((0.02 * 0.2, 0.9))
        assert hidden[2][0] == pytest.approx((0.019 * (9 / 11) ** 0.9 + 0.001) * 0.6)
        assert hidden[5][0] == pytest.approx(0.019 * (6 / 11) ** 0.9 + 0.001)
        # Four of eleven iterations down to 0.85 / 0.95 of the momentum.
        assert hidden[4][1] == pytest.approx(0.9 * 0.85 / 0.95)
        assert record.settings[5]['hidden.bias'][0] == pytest.approx(0.039 * (6 / 11) ** 0.9 + 0.001)


def test_accumulation_with_a_remainder_and_clipping_end_in_mmcvs_weights(whole):
    by_epoch, runner, record, _ = whole
    run = literal(record.initial, by_epoch=by_epoch)
    run.train(record.batches)
    assert record.losses == pytest.approx(run.losses, rel=1e-4)
    assert_close(runner.model.state_dict(), run.model.state_dict())


def test_evaluations_fall_on_mmcvs_points_and_on_the_end(whole):
    by_epoch, _, record, _ = whole
    # Epoch 2 of 3 is the start; 11 iterations are no multiple of 4. The last of each is the added one.
    assert record.evaluated == ([10, 15] if by_epoch else [4, 8, 11])


def test_checkpoints_have_mmcvs_names_and_count(whole):
    by_epoch, _, _, work_dir = whole
    names = sorted(path.name for path in work_dir.glob('*.pth') if not path.name.startswith('best'))
    # mmcv keeps 6 and 9 (two of the interval) beside the last one, which is off the interval.
    assert names == (['epoch_3.pth'] if by_epoch else ['iter_11.pth', 'iter_6.pth', 'iter_9.pth'])
    (best,) = work_dir.glob('best_error_*.pth')
    assert best.name in (
        ['best_error_epoch_2.pth', 'best_error_epoch_3.pth']
        if by_epoch
        else [f'best_error_iter_{n}.pth' for n in (4, 8, 11)]
    )
    assert (work_dir / 'best_error.pth').samefile(best)


def test_log_lines_come_at_mmcvs_points_with_its_averages(whole):
    by_epoch, _, record, work_dir = whole
    lines = lines_of(work_dir)
    loss = [None, *record.losses]
    if by_epoch:
        # Every second iteration inside each epoch of five; the run's last line is added.
        expected = {step: (loss[step - 1] + loss[step]) / 2 for step in (2, 4, 7, 9, 12, 14)}
        expected[15] = (loss[14] + loss[15]) / 2
    else:
        # mmcv empties its buffer at the evaluations after 4 and 8.
        expected = {3: sum(loss[1:4]) / 3, 6: (loss[5] + loss[6]) / 2, 9: loss[9], 11: sum(loss[9:12]) / 3}
    assert lines == pytest.approx(expected, rel=1e-5)


def test_a_checkpoint_of_mmcv1_resumes_to_mmcvs_weights_and_averages(whole, tmp_path):
    """The file has a group per parameter, ours fewer."""
    by_epoch, _, record, _ = whole
    theirs = literal(record.initial, by_epoch=by_epoch, ema=EMA)
    stop, name = (5, 'epoch_1.pth') if by_epoch else (6, 'iter_6.pth')
    theirs.train(record.batches, stop)
    torch.save(theirs.checkpoint(), tmp_path / name)
    theirs.train(record.batches)

    base = EPOCH_BASED if by_epoch else ITER_BASED
    hooks = dict(custom_hooks=[EMA, dict(type='RecordHook')])
    ours = build(tmp_path, base | hooks | dict(resume_from=str(tmp_path / name), load_from='other.pth'))
    ours.train()
    resumed = record_of(ours)
    assert len(resumed.losses) == len(record.losses) - stop
    for row, expected in zip(resumed.settings, theirs.settings[stop:], strict=True):
        for parameter, values in expected.items():
            assert row[parameter] == pytest.approx(values, rel=1e-9)
    assert resumed.losses == pytest.approx(theirs.losses[stop:], rel=1e-4)
    assert_close(ours.model.state_dict(), theirs.model.state_dict())
    (ema,) = [hook for hook in ours.hooks if type(hook).__name__ == 'EMAHook']
    assert_close(ema.ema_model.module.state_dict(), theirs.averages)
    last = load(tmp_path / 'run' / ('epoch_3.pth' if by_epoch else 'iter_11.pth'))
    assert_close(last['state_dict'], theirs.averages)


def test_resuming_on_other_hardware_goes_on_at_mmcvs_epoch(tmp_path):
    """Two GPUs made epochs of 3 iterations, one GPU makes 5: two epochs are left all the same."""
    checkpoint = literal(ToyModel().state_dict(), by_epoch=True).checkpoint()
    checkpoint['meta'] |= dict(iter=3, epoch=1)
    torch.save(checkpoint, tmp_path / 'epoch_1.pth')
    runner = build(tmp_path, EPOCH_BASED | dict(resume_from=str(tmp_path / 'epoch_1.pth')))
    runner.train()
    assert len(record_of(runner).losses) == 10


def test_averages_of_mmcv1_are_not_taken_for_weights_when_the_run_has_no_ema_hook(tmp_path):
    theirs = literal(ToyModel().state_dict(), by_epoch=True, ema=EMA)
    for average in theirs.averages.values():
        average.fill_(9.0)
    torch.save(theirs.checkpoint(), tmp_path / 'epoch_0.pth')
    runner = build(tmp_path, EPOCH_BASED | dict(resume_from=str(tmp_path / 'epoch_0.pth')))
    runner.train()
    assert record_of(runner).initial['hidden.weight'].max() < 9


def test_the_scale_of_an_fp16_run_of_mmcv1_goes_on(tmp_path):
    checkpoint = literal(ToyModel().state_dict(), by_epoch=False).checkpoint()
    scaler = torch.amp.GradScaler('cpu', init_scale=64.0).state_dict()
    checkpoint['meta'] |= dict(iter=9, fp16=dict(loss_scaler=scaler | dict(_growth_tracker=7)))
    torch.save(checkpoint, tmp_path / 'iter_10.pth')
    config = dict(fp16=dict(loss_scale='dynamic'), resume_from=str(tmp_path / 'iter_10.pth'))
    runner = build(tmp_path, ITER_BASED | config)
    runner.train()
    state = runner.optim_wrapper.loss_scaler.state_dict()
    assert (state['scale'], state['_growth_tracker']) == (64.0, 8)


def test_a_work_dirs_checkpoint_goes_before_the_weights_of_the_config(tmp_path):
    """`auto_resume` with `load_from`: first the weights; after a stop the run's own newest checkpoint."""
    weights = literal(ToyModel().state_dict(), by_epoch=False).checkpoint()
    weights['state_dict'] = {name: torch.full_like(value, 0.5) for name, value in weights['state_dict'].items()}
    torch.save(weights, tmp_path / 'weights.pth')
    config = ITER_BASED | dict(load_from=str(tmp_path / 'weights.pth'), auto_resume=True)
    first = build(tmp_path, config | dict(runner=dict(type='IterBasedRunner', max_iters=9)))
    first.train()
    assert len(record_of(first).losses) == 9
    assert (record_of(first).initial['hidden.weight'] == 0.5).all()
    second = build(tmp_path, config)
    second.train()
    assert len(record_of(second).losses) == 2
    torch.testing.assert_close(record_of(second).initial, dict(first.model.state_dict()))


def test_an_automatic_learning_rate_is_that_of_the_real_batch(tmp_path):
    runner = build(tmp_path, ITER_BASED | dict(auto_scale_lr=dict(enable=True, base_batch_size=8)))
    runner.train()
    # Half the base batch, half the rates; the minimum of the policy stays. Iteration 5 is past the warm-up.
    assert record_of(runner).settings[5]['hidden.weight'][0] == pytest.approx(0.009 * (6 / 11) ** 0.9 + 0.001)
