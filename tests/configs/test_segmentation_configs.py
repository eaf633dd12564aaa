"""The shipped segmentation configs: the published settings, and agreement of data and model."""

import pytest
import torch

from mmopt.apis import load_config
from mmopt.engine.schedules.schedulers import ClosedFormLR
from mmopt.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS
from tests.conftest import REPO


def read(name: str):
    return load_config(str(REPO / 'configs/baseline' / f'bisenetv2_cityscapes{name}.py'))


@pytest.mark.parametrize(
    ('name', 'batch', 'workers', 'prefetch', 'accumulation', 'wrapper'),
    [
        ('', 32, 4, None, 1, 'OptimWrapper'),
        ('_fast', 64, 8, 2, 1, 'AmpOptimWrapper'),
        ('_low_memory', 32, 8, 2, 2, 'AmpOptimWrapper'),
        ('_max', 128, 16, 4, 1, 'AmpOptimWrapper'),
    ],
)
def test_a_config_has_the_settings_of_its_name(name, batch, workers, prefetch, accumulation, wrapper):
    cfg = read(name)
    loader = cfg.train_dataloader
    assert (loader.batch_size, loader.num_workers, loader.get('prefetch_factor')) == (batch, workers, prefetch)
    assert (cfg.optim_wrapper.type, cfg.optim_wrapper.get('accumulative_counts', 1)) == (wrapper, accumulation)
    assert loader.persistent_workers
    # All see as many images as 150,000 iterations of the published 16.
    assert cfg.train_cfg.max_iters * batch == 150_000 * 16
    assert cfg.env_cfg.cudnn_benchmark == (name != '')


def test_evaluation_is_neither_augmented_nor_shuffled():
    cfg = read('')
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        kinds = [step.type for step in loader.dataset.pipeline]
        assert not any(kind.startswith(('Random', 'Draw')) for kind in kinds)
        assert not loader.sampler.shuffle
        assert loader.dataset.split == 'val'
    assert cfg.model.eval_flip
    assert list(cfg.model.eval_scales) == [0.5, 0.75, 1.0, 1.25, 1.5, 1.75]


def build_optimizer(cfg) -> torch.optim.Optimizer:
    options = dict(cfg.optim_wrapper)
    constructor = OPTIM_WRAPPER_CONSTRUCTORS.build(
        dict(
            type=options.pop('constructor'), paramwise_cfg=options.pop('paramwise_cfg'), optim_wrapper_cfg=options
        )
    )  # fmt: skip
    return constructor(MODELS.build(cfg.model)).optimizer


def test_the_rate_warms_up_and_falls_by_poly_in_every_iteration_and_heads_keep_their_factor():
    cfg = read('')
    optimizer = build_optimizer(cfg)
    (options,) = (dict(options) for options in cfg.param_scheduler)
    assert options.pop('type') == 'ClosedFormLR'
    scheduler = ClosedFormLR(optimizer, **options)
    scheduler.set_horizon(epoch_length=93, max_iters=75_000, max_epochs=807)
    factors = [group['initial_lr'] / 0.01 for group in optimizer.param_groups]
    assert sorted(set(map(round, factors))) == [1, 10]
    for iteration in range(1100):
        poly = 0.01 * (1 - iteration / 75_000) ** 0.9
        warmup = 0.1 + 0.9 * min(iteration / 1000, 1)
        assert scheduler.get_last_value() == pytest.approx([warmup * poly * factor for factor in factors]), iteration
        scheduler.step()


def test_ten_evaluations_without_a_better_score_end_a_run():
    for name in ('', '_fast', '_low_memory', '_max'):
        (hook,) = read(name).custom_hooks
        assert (hook.type, hook.monitor, hook.rule, hook.patience) == ('EarlyStoppingHook', 'mIoU', 'greater', 10)


def test_heads_learn_ten_times_as_fast_and_norms_and_biases_do_not_decay():
    groups = build_optimizer(read('')).param_groups
    rate = {name: (group['lr'], group['weight_decay']) for group in groups for name in group['param_names']}
    for name, (lr, decay) in rate.items():
        is_head = name.startswith(('head.', 'auxiliary.'))
        assert lr == pytest.approx(0.1 if is_head else 0.01), name
        assert decay == (0.0 if 'norm' in name or name.endswith('bias') else 5e-4), name
    assert len(rate) == len(list(MODELS.build(read('').model).parameters()))
