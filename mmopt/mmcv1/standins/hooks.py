"""Hooks with mmcv 1.x's signatures: each method gets the runner and nothing else."""

from typing import Any

import torch
from torch import nn

from mmopt.mmcv1.registry import Registry
from mmopt.utils.errors import UserError

__all__ = [
    'DRIVEN',
    'HOOKS',
    'CheckpointHook',
    'ClosureHook',
    'DistEvalHook',
    'DistSamplerSeedHook',
    'DvcliveLoggerHook',
    'EMAHook',
    'EarlyStoppingHook',
    'EvalHook',
    'Fp16OptimizerHook',
    'GradientCumulativeFp16OptimizerHook',
    'GradientCumulativeOptimizerHook',
    'Hook',
    'IterTimerHook',
    'LoggerHook',
    'MlflowLoggerHook',
    'NeptuneLoggerHook',
    'OptimizerHook',
    'PaviLoggerHook',
    'ProfilerHook',
    'SyncBuffersHook',
    'TensorboardLoggerHook',
    'TextLoggerHook',
    'WandbLoggerHook',
]

HOOKS = Registry('hook', scope='mmcv')


class Hook:
    """What happens at points of a run; a method that is not overridden does nothing."""

    stages = (
        'before_run',
        'before_train_epoch',
        'before_train_iter',
        'after_train_iter',
        'after_train_epoch',
        'before_val_epoch',
        'before_val_iter',
        'after_val_iter',
        'after_val_epoch',
        'after_run',
    )

    def before_run(self, runner: Any) -> None:
        """Be told that the run begins."""

    def after_run(self, runner: Any) -> None:
        """Be told that the run is over."""

    def before_epoch(self, runner: Any) -> None:
        """Be told that an epoch of any kind begins."""

    def after_epoch(self, runner: Any) -> None:
        """Be told that an epoch of any kind is over."""

    def before_iter(self, runner: Any) -> None:
        """Be told that an iteration of any kind begins."""

    def after_iter(self, runner: Any) -> None:
        """Be told that an iteration of any kind is over."""

    def before_train_epoch(self, runner: Any) -> None:
        """Be told that an epoch of training begins."""
        self.before_epoch(runner)

    def before_val_epoch(self, runner: Any) -> None:
        """Be told that an evaluation begins."""
        self.before_epoch(runner)

    def after_train_epoch(self, runner: Any) -> None:
        """Be told that an epoch of training is over."""
        self.after_epoch(runner)

    def after_val_epoch(self, runner: Any) -> None:
        """Be told that an evaluation is over."""
        self.after_epoch(runner)

    def before_train_iter(self, runner: Any) -> None:
        """Be told that an iteration of training begins."""
        self.before_iter(runner)

    def before_val_iter(self, runner: Any) -> None:
        """Be told that a batch of an evaluation begins."""
        self.before_iter(runner)

    def after_train_iter(self, runner: Any) -> None:
        """Be told that an iteration of training is over."""
        self.after_iter(runner)

    def after_val_iter(self, runner: Any) -> None:
        """Be told that a batch of an evaluation is over."""
        self.after_iter(runner)

    def every_n_epochs(self, runner: Any, n: int) -> bool:
        """Tell whether the epoch that ends is an n-th."""
        return (runner.epoch + 1) % n == 0 if n > 0 else False

    def every_n_inner_iters(self, runner: Any, n: int) -> bool:
        """Tell whether the iteration that ends is an n-th of its epoch."""
        return (runner.inner_iter + 1) % n == 0 if n > 0 else False

    def every_n_iters(self, runner: Any, n: int) -> bool:
        """Tell whether the iteration that ends is an n-th."""
        return (runner.iter + 1) % n == 0 if n > 0 else False

    def end_of_epoch(self, runner: Any) -> bool:
        """Tell whether the iteration that ends is the last of its epoch."""
        return runner.inner_iter + 1 == len(runner.data_loader)

    def is_last_epoch(self, runner: Any) -> bool:
        """Tell whether the epoch is the last."""
        return runner.epoch + 1 == runner.max_epochs

    def is_last_iter(self, runner: Any) -> bool:
        """Tell whether the iteration is the last."""
        return runner.iter + 1 == runner.max_iters

    def get_triggered_stages(self) -> list[str]:
        """Return at which points the hook does something, in order."""
        through = {
            'before_epoch': ('before_train_epoch', 'before_val_epoch'),
            'after_epoch': ('after_train_epoch', 'after_val_epoch'),
            'before_iter': ('before_train_iter', 'before_val_iter'),
            'after_iter': ('after_train_iter', 'after_val_iter'),
        }
        found = {stage for stage in self.stages if _is_overridden(self, stage)}
        for name, stages in through.items():
            if _is_overridden(self, name):
                found.update(stages)
        return [stage for stage in self.stages if stage in found]


def _is_overridden(hook: Hook, name: str) -> bool:
    return getattr(type(hook), name, None) is not getattr(Hook, name)


@HOOKS.register_module()
class OptimizerHook(Hook):
    """What turns the loss into a step: clears gradients, runs backward, clips and steps.

    mmopt does so itself; a deriving class of a repository is run in its place.

    Args:
        grad_clip: Arguments of :func:`torch.nn.utils.clip_grad_norm_`; None to leave gradients as they are.
        detect_anomalous_params: No effect: PyTorch says itself which parameters got no gradient.
    """

    def __init__(self, grad_clip: dict | None = None, detect_anomalous_params: bool = False) -> None:
        self.grad_clip = grad_clip
        self.detect_anomalous_params = detect_anomalous_params

    def clip_grads(self, params: Any) -> torch.Tensor | None:
        """Clip the gradients of parameters; returns their norm before."""
        chosen = [param for param in params if param.requires_grad and param.grad is not None]
        return nn.utils.clip_grad_norm_(chosen, **self.grad_clip) if chosen and self.grad_clip is not None else None

    def after_train_iter(self, runner: Any) -> None:
        """Make a step of the loss in ``runner.outputs``."""
        runner.optimizer.zero_grad()
        runner.outputs['loss'].backward()
        if self.grad_clip is not None:
            norm = self.clip_grads(runner.model.parameters())
            if norm is not None:
                runner.log_buffer.update({'grad_norm': float(norm)}, runner.outputs['num_samples'])
        runner.optimizer.step()


class _DrivenByMmopt(Hook):
    """A hook whose work mmopt does; it can be named and derived from."""

    instead = ''

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise UserError(f'{type(self).__name__}: mmopt does this itself: {self.instead}.')


_INSTEAD = {
    'Fp16OptimizerHook': 'write fp16=dict(loss_scale=...)',
    'GradientCumulativeOptimizerHook': 'write runner=dict(accumulative_counts=...)',
    'GradientCumulativeFp16OptimizerHook': 'write fp16=dict(...) and runner=dict(accumulative_counts=...)',
    'DistSamplerSeedHook': 'the training loop tells the sampler its epoch; drop the hook',
    'IterTimerHook': 'every log line has the times; drop the hook',
    'SyncBuffersHook': 'write checkpoint_config=dict(sync_buffer=True)',
    'EMAHook': "write custom_hooks=[dict(type='EMAHook', ...)]",
    'CheckpointHook': 'write checkpoint_config=dict(interval=...)',
    'EvalHook': 'write evaluation=dict(interval=...)',
    'DistEvalHook': 'write evaluation=dict(interval=...)',
    'LoggerHook': 'write log_config=dict(...)',
    'TextLoggerHook': 'write log_config=dict(...)',
    'TensorboardLoggerHook': 'write log_config=dict(hooks=[...])',
    'WandbLoggerHook': 'write log_config=dict(hooks=[...])',
    'MlflowLoggerHook': 'write log_config=dict(hooks=[...])',
    'NeptuneLoggerHook': 'write log_config=dict(hooks=[...])',
    'DvcliveLoggerHook': 'write log_config=dict(hooks=[...])',
    'PaviLoggerHook': "write log_config=dict(hooks=[dict(type='TensorboardLoggerHook')])",
    'ProfilerHook': 'tools/benchmark.py measures a run',
    'ClosureHook': 'write a class derived from mmcv.runner.Hook',
    'EarlyStoppingHook': "write custom_hooks=[dict(type='EarlyStoppingHook', ...)]",
}


def _driven(name: str) -> type[_DrivenByMmopt]:
    made = type(name, (_DrivenByMmopt,), dict(instead=_INSTEAD[name], __doc__=_INSTEAD[name], __module__=__name__))
    HOOKS.register_module(module=made)
    return made


DRIVEN = tuple(_INSTEAD)
"""Names of hooks whose work mmopt does."""
Fp16OptimizerHook = _driven('Fp16OptimizerHook')
GradientCumulativeOptimizerHook = _driven('GradientCumulativeOptimizerHook')
GradientCumulativeFp16OptimizerHook = _driven('GradientCumulativeFp16OptimizerHook')
DistSamplerSeedHook = _driven('DistSamplerSeedHook')
IterTimerHook = _driven('IterTimerHook')
SyncBuffersHook = _driven('SyncBuffersHook')
EMAHook = _driven('EMAHook')
CheckpointHook = _driven('CheckpointHook')
EvalHook = _driven('EvalHook')
DistEvalHook = type('DistEvalHook', (EvalHook,), dict(instead=_INSTEAD['DistEvalHook'], __module__=__name__))
LoggerHook = _driven('LoggerHook')
TextLoggerHook = _driven('TextLoggerHook')
TensorboardLoggerHook = _driven('TensorboardLoggerHook')
WandbLoggerHook = _driven('WandbLoggerHook')
MlflowLoggerHook = _driven('MlflowLoggerHook')
NeptuneLoggerHook = _driven('NeptuneLoggerHook')
DvcliveLoggerHook = _driven('DvcliveLoggerHook')
PaviLoggerHook = _driven('PaviLoggerHook')
ProfilerHook = _driven('ProfilerHook')
ClosureHook = _driven('ClosureHook')
EarlyStoppingHook = _driven('EarlyStoppingHook')
