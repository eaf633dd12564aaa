"""A run keeps the precision that was chosen for it, and says in one line what that means on another machine."""

import pytest
import torch

from mmopt.engine import checkpoint_io
from mmopt.engine.optim import AmpOptimWrapper
from tests.engine.test_runner import Killed, KillHook, build
from tests.engine.toy import toy_config

AUTO = dict(optim_wrapper=dict(type='AmpOptimWrapper', dtype='auto'))
BF16 = dict(optim_wrapper=dict(type='AmpOptimWrapper', dtype='bfloat16'))
FP32 = dict(optim_wrapper=dict(type='OptimWrapper'))


@pytest.fixture
def cpu(monkeypatch):
    """Return what changes the half precisions that this CPU multiplies itself."""
    return lambda *natives: monkeypatch.setattr(
        'mmopt.utils.precision._cpu_natives', lambda: dict.fromkeys(natives, 'made up')
    )


def killed(work_dir, **changes) -> dict:
    """Train until the checkpoint at 4; return its meta."""
    with pytest.raises(Killed):
        build(toy_config(work_dir, custom_hooks=[dict(type=KillHook.__name__, after=4)], **changes)).train()
    return checkpoint_io.load(work_dir / 'iter_4.pth')['meta']


def resumed(work_dir, **changes):
    runner = build(toy_config(work_dir, resume=True, **changes))
    runner.train()
    return runner.optim_wrapper, (work_dir / 'latest.log').read_text()


def test_the_choice_stands_in_the_log_and_in_the_checkpoint(tmp_path, cpu):
    cpu('bf16')
    assert killed(tmp_path, **AUTO)['precision'] == 'bf16'
    assert 'precision: bf16 (auto: this CPU multiplies it itself (made up))' in (tmp_path / 'latest.log').read_text()


def test_a_run_begun_in_bf16_goes_on_in_it_where_it_is_emulated(tmp_path, cpu):
    cpu('bf16')
    killed(tmp_path, **AUTO)
    cpu()
    wrapper, log = resumed(tmp_path, **AUTO)
    assert (wrapper.precision, wrapper.cast_dtype) == ('bf16', torch.bfloat16)
    assert 'Going on in bf16, as the run was begun, though this CPU has no bf16 arithmetic' in log


def test_a_run_begun_in_fp32_goes_on_in_it_where_bf16_is_faster(tmp_path, cpu):
    cpu()
    assert killed(tmp_path, **AUTO)['precision'] == 'fp32'
    cpu('bf16')
    wrapper, log = resumed(tmp_path, **AUTO)
    assert wrapper.precision == 'fp32'
    assert 'Going on in' not in log


def test_a_run_begun_in_fp16_keeps_its_loss_scale(tmp_path, cpu):
    cpu('fp16')
    killed(tmp_path, **AUTO)
    saved = checkpoint_io.load(tmp_path / 'iter_4.pth')['optimizer']['loss_scaler']
    cpu('bf16', 'fp16')
    wrapper, _ = resumed(tmp_path, **AUTO)
    assert wrapper.precision == 'fp16'
    assert wrapper.loss_scaler.get_scale() == saved['scale']


@pytest.mark.parametrize(('before', 'after', 'names'), [(BF16, FP32, ('bf16', 'fp32')), (FP32, BF16, ('fp32', 'bf16'))])
def test_a_precision_that_the_config_changes_is_changed_and_said(tmp_path, before, after, names):
    assert killed(tmp_path, **before)['precision'] == names[0]
    wrapper, log = resumed(tmp_path, **after)
    assert wrapper.precision == names[1]
    assert f'trained in {names[0]}, this run goes on in {names[1]}.' in log


def test_an_evaluation_of_its_own_computes_in_the_precision_of_the_checkpoint(tmp_path, cpu):
    cpu('bf16')
    killed(tmp_path, **AUTO)
    tested = build(toy_config(tmp_path, load_from=str(tmp_path / 'iter_4.pth'), **AUTO))
    tested.load_or_resume()
    with tested.autocast():
        assert torch.get_autocast_dtype('cpu') is torch.bfloat16
        assert torch.is_autocast_enabled('cpu')


def test_a_fused_sgd_begins_its_momentum_with_the_first_step_that_is_made():
    """torch's kernel makes the buffer in the step that the scaler leaves out, and does not fill it."""
    param = torch.nn.Parameter(torch.ones(64))
    wrapper = AmpOptimWrapper(
        optimizer=torch.optim.SGD([param], lr=0.1, momentum=0.9, fused=True), dtype='float16', loss_scale='dynamic'
    )
    for gradient in (float('inf'), 1.0, 1.0):
        wrapper.zero_grad()
        wrapper.loss_scaler.scale((param * gradient).sum()).backward()
        wrapper.step()
    assert wrapper.num_skipped_steps == 1
    torch.testing.assert_close(param.detach(), torch.full((64,), 1 - 0.1 * (1 + 1.9)))
