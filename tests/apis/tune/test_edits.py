"""A point as changes of a config: both dialects, the same samples, and a file that says so."""

import pytest
from mmengine.config import Config

from mmopt.apis.config import load_config, read_config
from mmopt.apis.tune.edits import as_options, make_edits, scaled_lr
from mmopt.apis.tune.write import render_tuned
from tests.conftest import REPO
from tests.engine.toy import toy_config

DIALECT = REPO / 'configs/baseline/lss_swin_nuscenes.py'
EPOCHS = REPO / 'configs/baseline/tad_v7_mabe_5090.py'


@pytest.fixture
def native(tmp_path):
    cfg = toy_config(
        tmp_path,
        max_iters=800,
        optim_wrapper=dict(type='AmpOptimWrapper', dtype='float16', loss_scale='dynamic'),
        param_scheduler=[dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=100)],
    )
    del cfg['work_dir']
    path = tmp_path / 'native.py'
    Config(cfg).dump(path)
    return path


def lowered_with(path, point: dict, effective: int, **kwargs) -> tuple[dict, list]:
    edits = make_edits(read_config(path).to_dict(), point, effective=effective, **kwargs)
    return load_config(path, options=as_options(edits)).to_dict(), edits


def test_batch_and_accumulation_change_together_and_the_run_sees_the_same_samples():
    before = load_config(DIALECT).to_dict()
    after, _ = lowered_with(DIALECT, dict(batch=2), 4)
    assert (after['train_dataloader']['batch_size'], after['optim_wrapper']['accumulative_counts']) == (2, 2)
    assert after['train_cfg']['max_iters'] == 2 * before['train_cfg']['max_iters']
    assert after['train_cfg']['val_interval'] == 2 * before['train_cfg']['val_interval']
    for name in ('interval',):
        assert after['default_hooks']['checkpoint'][name] == 2 * before['default_hooks']['checkpoint'][name]
    assert after['param_scheduler'][0]['warmup_iters'] == 2 * before['param_scheduler'][0]['warmup_iters']
    assert after['optim_wrapper']['optimizer']['lr'] == before['optim_wrapper']['optimizer']['lr']
    assert after['val_dataloader'] == before['val_dataloader']


def test_epochs_stay_epochs():
    before = load_config(EPOCHS).to_dict()
    after, _ = lowered_with(EPOCHS, dict(batch=16), 32)
    assert after['train_cfg'] == before['train_cfg']
    assert after['optim_wrapper']['accumulative_counts'] == 2


@pytest.mark.parametrize(('rule', 'factor'), [('linear', 2.0), ('sqrt', 2**0.5)])
def test_the_learning_rate_follows_the_effective_batch_alone(rule, factor):
    before = load_config(DIALECT).to_dict()['optim_wrapper']['optimizer']['lr']
    after, _ = lowered_with(DIALECT, dict(batch=8), 8, lr_rule=rule)
    assert after['optim_wrapper']['optimizer']['lr'] == pytest.approx(factor * before)
    assert scaled_lr(0.1, 8, 8, rule) == 0.1


@pytest.mark.parametrize(('precision', 'dtype'), [('bf16', 'bfloat16'), ('fp16', 'float16'), ('fp32', None)])
def test_precision_is_written_in_the_dialect(precision, dtype):
    after, _ = lowered_with(DIALECT, dict(batch=4, precision=precision), 4)
    assert after['optim_wrapper'].get('dtype') == dtype


def test_a_native_config_is_edited_natively(native):
    point = dict(batch=8, precision='fp32', channels_last=True, workers=2, prefetch=4)
    after, edits = lowered_with(native, point, 8)
    wrapper = after['optim_wrapper']
    assert (wrapper['type'], 'dtype' in wrapper, 'loss_scale' in wrapper) == ('OptimWrapper', False, False)
    assert wrapper['optimizer']['lr'] == pytest.approx(0.02)
    assert wrapper.get('accumulative_counts', 1) == 1
    assert after['optimize'] == dict(channels_last=True)
    assert (after['train_dataloader']['num_workers'], after['train_dataloader']['prefetch_factor']) == (2, 4)
    assert after['train_cfg']['max_iters'] == 400
    assert after['param_scheduler'][0]['end'] == 50
    assert after['param_scheduler'][0]['begin'] == 0
    assert {edit.knob for edit in edits} == {
        'precision', 'batch', 'iterations', 'lr', 'channels_last', 'workers', 'prefetch',
    }  # fmt: skip


def test_the_base_is_no_edit(native):
    assert make_edits(read_config(native).to_dict(), dict(batch=4, precision='fp16'), effective=4) == []
    base = dict(batch=4, precision='fp32', channels_last=False, workers=4, prefetch=2)
    assert make_edits(read_config(DIALECT).to_dict(), base, effective=4) == []


@pytest.mark.parametrize('name', ['dialect', 'native'])
def test_the_file_says_what_the_options_say(native, tmp_path, name):
    base = dict(dialect=DIALECT, native=native)[name]
    point = dict(batch=2, precision='bf16', channels_last=True, workers=1)
    lowered, edits = lowered_with(base, point, 16)
    out = tmp_path / 'tuned' / 'x.py'
    out.parent.mkdir()
    reasons = dict(
        batch='because it is', precision='1.80 times as fast as fp32, measured', lr='a very long reason ' * 9
    )
    left_out = ['compile True: 0.90 times as fast, measured']
    out.write_text(render_tuned(base, out, edits, head=['x, tuned.', 'On a CPU.'], reasons=reasons, left_out=left_out))
    read = load_config(out).to_dict()
    for cfg in (read, lowered):
        cfg.pop('work_dir')
    assert read == lowered
    text = out.read_text()
    for part in ('because it is', '1.80 times as fast', 'a very long reason', '# - compile True: 0.90', "_base_ = ['"):
        assert part in text
    assert max(map(len, text.splitlines())) <= 120
