import pytest

from mmopt.engine.switches import Effect, apply_to_optimizer, lr_factor, scale_schedules
from mmopt.utils.errors import UserError
from tests.engine.test_runner import build
from tests.engine.toy import toy_config


def config(**optimize) -> dict:
    return dict(
        train_dataloader=dict(batch_size=8),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3), accumulative_counts=4),
        optimize=optimize,
    )


@pytest.mark.parametrize(('rule', 'world_size', 'factor'), [('linear', 1, 2), ('linear', 4, 8), ('sqrt', 2, 2)])
def test_a_step_is_batch_times_accumulation_times_processes(rule, world_size, factor):
    cfg = config(scale_lr=rule, base_batch=16, micro_batch=2)
    assert lr_factor(cfg, world_size)[0] == factor
    wrapper, effects = apply_to_optimizer(cfg['optim_wrapper'], cfg, world_size)
    assert wrapper['optimizer']['lr'] == pytest.approx(1e-3 * factor)
    assert 'samples per step' in effects['scale_lr'].text
    assert cfg['optim_wrapper']['optimizer']['lr'] == 1e-3


def test_without_the_key_nothing_is_scaled():
    cfg = config(base_batch=16)
    assert lr_factor(cfg, 1) == (1.0, '')
    assert apply_to_optimizer(cfg['optim_wrapper'], cfg, 1) == (cfg['optim_wrapper'], {})


def test_the_batch_of_the_file_is_the_base_where_options_changed_it():
    cfg = config(scale_lr='linear') | dict(auto_scale_lr=dict(base_batch_size=8, enable=False))
    assert lr_factor(cfg, 1)[0] == 4


def test_without_a_base_the_remedy_is_named():
    with pytest.raises(UserError, match=r'optimize\.base_batch=N \(this run takes 32\)'):
        lr_factor(config(scale_lr='linear'), 1)


def test_scaling_twice_is_refused():
    cfg = config(scale_lr='linear', base_batch=8) | dict(auto_scale_lr=dict(base_batch_size=8, enable=True))
    with pytest.raises(UserError, match='both scale the learning rate'):
        lr_factor(cfg, 1)


def test_several_optimizers_are_not_scaled_and_say_so():
    cfg = config(scale_lr='linear', base_batch=8)
    cfg['optim_wrapper'] = dict(accumulative_counts=1)
    _, effects = apply_to_optimizer(cfg['optim_wrapper'], cfg, 1)
    assert effects['scale_lr'] == Effect('there is no single optimizer.lr to scale', is_effective=False)


def test_rates_that_schedules_give_as_such_are_scaled_and_momenta_are_not():
    schedules = [
        dict(type='ClosedFormLR', policy='OneCycle', max_lr=[0.1, 0.2], pct_start=0.3),
        dict(type='ClosedFormLR', policy='Poly', min_lr=1e-4, power=1.0),
        dict(type='ClosedFormMomentum', policy='OneCycle', max_momentum=0.95),
    ]
    scaled = scale_schedules(schedules, 2.0)
    assert [item.get('max_lr') for item in scaled] == [[0.2, 0.4], None, None]
    assert scaled[1] == dict(type='ClosedFormLR', policy='Poly', min_lr=2e-4, power=1.0)
    assert scaled[2] == schedules[2]
    assert scale_schedules(dict(gan=schedules), 2.0)['gan'] == scaled


def test_a_run_trains_with_the_scaled_rate(tmp_path):
    cfg = toy_config(tmp_path, max_iters=2, optimize=dict(scale_lr='linear', base_batch=2))
    cfg['param_scheduler'] = [dict(type='ClosedFormLR', policy='Poly', by_epoch=False, power=1.0, min_lr=0.01)]
    runner = build(cfg)
    runner.train()
    # From 0.01 to 0.01 at batch 2: from 0.02 to 0.02 at batch 4.
    assert runner.optim_wrapper.get_lr()['lr'] == [pytest.approx(0.02)]
    assert 'optimize.scale_lr: lr 0.01 -> 0.02, linear scaling from 2 to 4' in (tmp_path / 'latest.log').read_text()
