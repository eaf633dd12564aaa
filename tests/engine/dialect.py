"""The toy task as MMCV-1.x configs, and what a run of them did."""

from pathlib import Path

from mmengine.hooks import Hook

from mmopt.apis.config import load_config
from mmopt.config.render import render_value
from mmopt.registry import HOOKS, RUNNERS
from tests.conftest import forget_mmengine_globals

LR, DECAY = 0.02, 0.01
# What paramwise_cfg below means for the parameters of ToyModel, by hand.
OPTIONS = {
    'hidden.weight': (LR, DECAY),
    'hidden.bias': (2 * LR, DECAY),
    'norm.weight': (LR, 0.0),
    'norm.bias': (LR, 0.0),
    'out.weight': (0.1 * LR, DECAY),
    'out.bias': (0.1 * LR, DECAY),
}
_COMMON = dict(
    model=dict(type='ToyModel', dropout=0.0),
    log_level='INFO',
    workflow=[('train', 1)],
    dist_params=dict(backend='gloo'),
    load_from=None,
    resume_from=None,
    seed=5,
    # The toy types belong to no installed library.
    custom_imports=dict(imports=['tests.engine.toy'], allow_failed_imports=False),
    custom_hooks=[dict(type='RecordHook')],
)
_PARAMWISE = dict(norm_decay_mult=0.0, bias_lr_mult=2.0, custom_keys=dict(out=dict(lr_mult=0.1)))
_VAL = dict(type='ToyDataset', length=6, noise=0.0)

ITER_BASED = _COMMON | dict(
    data=dict(samples_per_gpu=4, workers_per_gpu=0, train=dict(type='ToyDataset'), val=_VAL),
    optimizer=dict(type='SGD', lr=LR, momentum=0.9, weight_decay=DECAY, paramwise_cfg=_PARAMWISE),
    optimizer_config=dict(grad_clip=dict(max_norm=0.5, norm_type=2)),
    lr_config=dict(
        policy='poly', power=0.9, min_lr=1e-3, by_epoch=False, warmup='linear', warmup_iters=4, warmup_ratio=0.2
    ),
    momentum_config=dict(policy='cyclic', target_ratio=(0.85 / 0.95, 1), cyclic_times=1, step_ratio_up=0.4),
    runner=dict(type='IterBasedRunner', max_iters=11, accumulative_counts=3),
    checkpoint_config=dict(by_epoch=False, interval=3, max_keep_ckpts=2),
    evaluation=dict(interval=4, metric=dict(type='ToyError'), save_best='error', rule='less'),
    log_config=dict(interval=3, hooks=[dict(type='TextLoggerHook', by_epoch=False)]),
)
EPOCH_BASED = _COMMON | dict(
    data=dict(
        samples_per_gpu=4,
        workers_per_gpu=0,
        train=dict(type='RepeatDataset', times=2, dataset=dict(type='ToyDataset', length=10)),
        val=_VAL,
    ),
    optimizer=dict(type='AdamW', lr=LR, betas=(0.9, 0.99), weight_decay=DECAY, paramwise_cfg=_PARAMWISE),
    optimizer_config=dict(
        type='GradientCumulativeOptimizerHook', cumulative_iters=4, grad_clip=dict(max_norm=0.3, norm_type=2)
    ),
    lr_config=dict(
        policy='step', step=[1, 2], gamma=0.5, warmup='exp', warmup_iters=1, warmup_ratio=0.1, warmup_by_epoch=True
    ),
    momentum_config=dict(policy='step', step=[2], gamma=0.8),
    total_epochs=3,
    checkpoint_config=dict(interval=1, max_keep_ckpts=1),
    evaluation=dict(interval=2, start=2, metric=dict(type='ToyError'), save_best='error', rule='less'),
    log_config=dict(interval=2, hooks=[dict(type='TextLoggerHook')]),
)


@HOOKS.register_module(force=True)
class RecordHook(Hook):
    """Keep what every iteration was given and made."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.batches: list[dict] = []
        self.settings: list[dict] = []
        self.losses: list[float] = []
        self.evaluated: list[int] = []

    def before_train(self, runner):
        self.initial = {name: value.clone() for name, value in runner.model.state_dict().items()}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.batches.append(data_batch)
        self.settings.append(
            {
                name: (group['lr'], group['momentum'] if 'momentum' in group else group['betas'][0])
                for group in runner.optim_wrapper.optimizer.param_groups
                for name in group['param_names']
            }
        )

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append(float(outputs['loss']))

    def before_val(self, runner):
        self.evaluated.append(runner.train_loop.iters_done)


def build(folder: Path, cfg: dict, name: str = 'run', **flags):
    """Write a config as a file, read and lower it as the tools do, and build its runner."""
    forget_mmengine_globals()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f'{name}.py'
    path.write_text(''.join(f'{key} = {render_value(value)}\n' for key, value in cfg.items()))
    lowered = load_config(path, work_dir=str(folder / name), **flags)
    return RUNNERS.get(lowered.runner_type).from_cfg(lowered)


def record_of(runner) -> RecordHook:
    return next(hook for hook in runner.hooks if isinstance(hook, RecordHook))
