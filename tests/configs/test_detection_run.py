"""The slow FRED recipe in small: a whole run of both phases, and killed runs that go on, with everything it has.

Mosaic and MixUp in persistent workers, SGD with a warm cosine, a frozen backbone, EMA.
"""

import copy
import math

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.hooks import Hook

from mmopt.apis import load_config
from mmopt.datasets.detection.demo import make_demo
from mmopt.registry import HOOKS, RUNNERS
from tests.conftest import REPO, forget_mmengine_globals
from tests.engine.test_runner import Killed, assert_same, losses_of, state_of

EMA_MOMENTUM, EMA_TAU = 0.01, 4
MAX_EPOCHS, THAW, STOP = 4, 2, 2  # int(0.7 * 4)
ITERS = [2] * THAW + [4] * (MAX_EPOCHS - THAW)
"""Iterations of each epoch: 16 images in batches of 8, then of 4."""


@HOOKS.register_module(force=True)
class WatchDetectionHook(Hook):
    """Note what every iteration saw and left behind, and with which weights the run is evaluated."""

    priority = 'LOWEST'
    iterations: list = []
    evaluated: list = []

    def before_train(self, runner):
        self.start = weights(runner.model)
        self.grads, self.lr = set(), 0.0
        runner.optim_wrapper.optimizer.register_step_pre_hook(lambda *_: self.note_gradients(runner.model))

    def note_gradients(self, model):
        self.grads = {name for name, param in model.named_parameters() if param.grad is not None}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.lr = runner.optim_wrapper.param_groups[0]['lr']

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        names = {id(param): name for name, param in runner.model.named_parameters()}
        samples = data_batch['data_samples']
        WatchDetectionHook.iterations.append(
            dict(
                epoch=runner.epoch,
                batch=len(samples),
                mosaics=sum('is_mosaic' in sample for sample in samples),
                mixed=sum('is_mixed' in sample for sample in samples),
                lr=self.lr,
                state={names[id(param)] for param in runner.optim_wrapper.optimizer.state},
                grads=self.grads,
                training={name for name, module in runner.model.named_modules() if module.training},
                start=self.start,
                weights=weights(runner.model),
                buffers={name: value.clone() for name, value in runner.model.named_buffers()},
            )
        )

    def before_val_epoch(self, runner):
        WatchDetectionHook.evaluated.append((runner.iter, weights(runner.model)))


def weights(model) -> dict[str, torch.Tensor]:
    return {name: param.detach().clone() for name, param in model.named_parameters()}


def in_small(step):
    """Return a pipeline's step, or what is inside of one, at 64x96 pixels in the place of 640x640."""
    if isinstance(step, dict):
        return {key: (64, 96) if key == 'size' else in_small(value) for key, value in step.items()}
    return [in_small(item) for item in step] if isinstance(step, list | tuple) else step


@pytest.fixture(scope='module')
def build(tmp_path_factory):
    """Return a function that builds a run in a work dir."""
    root = make_demo(tmp_path_factory.mktemp('demo') / 'fred', 16, 8, (90, 160)).out
    phases = f"phases=[{{'until_epoch':{THAW},'freeze':['backbone'],'samples_per_gpu':8}},{{'samples_per_gpu':4}}]"
    options = [
        f'data.data_root={root}',
        f'runner.max_epochs={MAX_EPOCHS}',
        phases,
        'data.workers_per_gpu=1',
        'data.samples_per_gpu=8',
        'optimizer.lr=0.02',
        'lr_config.warmup_iters=1',
        'evaluation.interval=2',
        'model.backbone.width=0.125',
        'model.backbone.depth=0.1',
        'model.neck.depth=0.1',
        f'custom_hooks.0.momentum={EMA_MOMENTUM}',
        f'custom_hooks.0.total_iter={EMA_TAU}',
    ]
    config = REPO / 'configs' / 'baseline' / 'yolov5m_fred_rgb.py'
    small = ConfigDict(load_config(config, options=options, seed=0).to_dict())
    for split in ('train', 'val'):
        dataset = small[f'{split}_dataloader']['dataset']
        dataset['pipeline'] = in_small(dataset['pipeline'])
    mosaic = next(step for step in small.train_dataloader.dataset.pipeline if step['type'] == 'Mosaic')
    mosaic.update(prob=1.0, stop_epoch=STOP)
    small.default_hooks.checkpoint.update(interval=3, by_epoch=False, max_keep_ckpts=2)
    small.default_hooks.logger.interval = 1
    small.visualizer.vis_backends = [dict(type='LocalVisBackend')]

    def build_in(work_dir, *hooks: dict, resume: bool = False):
        cfg = copy.deepcopy(small)
        cfg.work_dir, cfg.resume = str(work_dir), resume
        cfg.custom_hooks = [*cfg.custom_hooks, *hooks]
        forget_mmengine_globals()
        # Formatting the config for the log takes longer than the run.
        return RUNNERS.get(cfg.runner_type).from_cfg(Config(cfg, format_python_code=False))

    return build_in


@pytest.fixture(scope='module')
def whole(build, tmp_path_factory):
    """Return the state of an uninterrupted run, its losses, and what its iterations and evaluations saw."""
    WatchDetectionHook.iterations, WatchDetectionHook.evaluated = [], []
    work_dir = tmp_path_factory.mktemp('whole')
    runner = build(work_dir, dict(type='WatchDetectionHook'))
    runner.train()
    return dict(
        state=everything(runner),
        losses=losses_of(work_dir),
        rows=WatchDetectionHook.iterations,
        evaluated=WatchDetectionHook.evaluated,
        saved=torch.load(work_dir / f'iter_{sum(ITERS)}.pth', weights_only=False)['state_dict'],
    )


def everything(runner) -> dict[str, torch.Tensor]:
    (ema,) = [hook for hook in runner.hooks if type(hook).__name__ == 'EMAHook']
    averaged = {f'ema.{name}': value.clone() for name, value in ema.ema_model.state_dict().items()}
    return state_of(runner) | averaged


def test_a_frozen_backbone_has_no_gradient_no_state_and_no_moving_statistics_until_it_thaws(whole):
    frozen, thawed = ([row for row in whole['rows'] if (row['epoch'] < THAW) == early] for early in (True, False))
    assert [row['batch'] for row in frozen + thawed] == [8] * 4 + [4] * 8
    names = set(whole['rows'][0]['weights'])
    others = {name for name in names if not name.startswith('backbone.')}
    assert others < names
    start = frozen[0]['start']
    for row in frozen:
        assert row['grads'] == row['state'] == others
        assert not [name for name in row['training'] if name.startswith('backbone')]
        assert all(torch.equal(row['weights'][name], start[name]) for name in names - others)
        means = {name: value for name, value in row['buffers'].items() if name.endswith('running_mean')}
        assert not any(value.any() for name, value in means.items() if name.startswith('backbone'))
        assert all(value.any() for name, value in means.items() if name.startswith('neck'))
    assert all(row['grads'] == row['state'] == names for row in thawed)
    assert any(name.startswith('backbone') for name in thawed[0]['training'])
    last = thawed[-1]
    assert all(not torch.equal(last['weights'][name], start[name]) for name in names)
    assert all(value.any() for name, value in last['buffers'].items() if 'running_mean' in name)


def test_the_rate_follows_the_batch_of_the_phase_and_the_cosine_over_all_epochs(whole):
    """A warm-up of one epoch, which has two iterations; 0.02 is for a batch of 8."""
    want = []
    for epoch, length in enumerate(ITERS):
        base = 0.02 * (1 if epoch < THAW else 0.5)
        cosine = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * epoch / MAX_EPOCHS))
        for iteration in range(length):
            warm = 1 - (1 - iteration / 2) * 0.9 if epoch == 0 else 1
            want.append(base * cosine * warm)
    assert [row['lr'] for row in whole['rows']] == pytest.approx(want, rel=1e-6)


def test_mosaics_and_mixed_images_end_at_70_percent_in_persistent_workers(whole):
    early, late = ([row for row in whole['rows'] if (row['epoch'] < STOP) == is_early] for is_early in (True, False))
    assert all(row['mosaics'] == row['batch'] for row in early)
    assert sum(row['mixed'] for row in early) > 8
    assert not any(row['mosaics'] or row['mixed'] for row in late)


def test_the_average_by_hand_is_what_is_evaluated_and_saved(whole):
    averaged = {name: value.double() for name, value in whole['rows'][0]['start'].items()}
    by_iteration = []
    for number, row in enumerate(whole['rows']):
        share = (1 - EMA_MOMENTUM) * math.exp(-(1 + number) / EMA_TAU) + EMA_MOMENTUM
        averaged = {name: value.lerp(row['weights'][name].double(), share) for name, value in averaged.items()}
        by_iteration.append(averaged)
    assert [iteration for iteration, _ in whole['evaluated']] == [4, 12]
    for iteration, evaluated in whole['evaluated']:
        for name, value in evaluated.items():
            torch.testing.assert_close(value.double(), by_iteration[iteration - 1][name], rtol=1e-5, atol=1e-7)
    last = whole['rows'][-1]['weights']
    convs = [name for name in last if name.endswith('conv.weight')]
    # Else the raw weights would have passed, too.
    assert not [name for name in convs if torch.allclose(last[name].double(), averaged[name], rtol=1e-5, atol=1e-7)]
    for name, value in averaged.items():
        torch.testing.assert_close(whole['saved'][name].double(), value, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('stop', [3, 6], ids=['frozen', 'thawed'])
def test_a_killed_detector_continues_bit_for_bit(build, whole, tmp_path, stop):
    killed = build(tmp_path, dict(type='KillHook', after=stop))
    with pytest.raises(Killed):
        killed.train()
    resumed = build(tmp_path, resume=True)
    resumed.train()
    assert_same(whole['state'], everything(resumed))
    assert losses_of(tmp_path) == whole['losses']
