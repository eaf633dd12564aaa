"""The shipped segmentation configs: the published settings, and agreement of data and model."""

import pytest

from mmopt.apis import load_config
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


def test_heads_learn_ten_times_as_fast_and_norms_and_biases_do_not_decay():
    cfg = read('')
    model = MODELS.build(cfg.model)
    options = dict(cfg.optim_wrapper)
    constructor = OPTIM_WRAPPER_CONSTRUCTORS.build(
        dict(
            type=options.pop('constructor'), paramwise_cfg=options.pop('paramwise_cfg'), optim_wrapper_cfg=options
        )
    )  # fmt: skip
    groups = constructor(model).optimizer.param_groups
    rate = {name: (group['lr'], group['weight_decay']) for group in groups for name in group['param_names']}
    for name, (lr, decay) in rate.items():
        is_head = name.startswith(('head.', 'auxiliary.'))
        assert lr == pytest.approx(0.1 if is_head else 0.01), name
        assert decay == (0.0 if 'norm' in name or name.endswith('bias') else 5e-4), name
    assert len(rate) == len(list(model.parameters()))
