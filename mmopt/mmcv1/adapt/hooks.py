"""Hooks with mmcv 1.x's signatures at the points of mmopt's engine, and what a run of such code sets up."""

from collections.abc import Mapping
from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import Hook

from mmopt.engine.loops.step import unwrap
from mmopt.mmcv1.adapt.own_step import OwnStep
from mmopt.mmcv1.adapt.runner_view import RunnerView
from mmopt.mmcv1.standins.hooks import HOOKS as MMCV1_HOOKS
from mmopt.registry import HOOKS
from mmopt.utils.errors import UserError

__all__ = ['MMCV1Hook', 'MMCV1Setup']


def _view(runner: Any) -> RunnerView:
    """Return the view that all hooks of a run share."""
    view = vars(runner).get('mmcv1_view')
    if view is None:
        view = runner.mmcv1_view = RunnerView(runner)
    return view


@HOOKS.register_module()
class MMCV1Hook(Hook):
    """Call a hook of a repository at the points that mmcv 1.x has.

    Args:
        hook: Its config.
    """

    priority = 'NORMAL'

    def __init__(self, hook: Mapping[str, Any]) -> None:
        arguments = {key: value for key, value in hook.items() if key != 'priority'}
        self.hook: Any = MMCV1_HOOKS.build(arguments)

    def before_train(self, runner: Any) -> None:
        """Be told that the run begins."""
        self.hook.before_run(_view(runner))

    def after_train(self, runner: Any) -> None:
        """Be told that the run is over."""
        self.hook.after_run(_view(runner))

    def before_train_epoch(self, runner: Any) -> None:
        """Be told that an epoch begins."""
        self.hook.before_train_epoch(_view(runner))

    def after_train_epoch(self, runner: Any) -> None:
        """Be told that an epoch is over."""
        self.hook.after_train_epoch(_view(runner))

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Be told that an iteration begins."""
        view = _view(runner)
        view._inner_iter, view.data_batch = batch_idx, data_batch
        self.hook.before_train_iter(view)

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Be told that an iteration is over."""
        view = _view(runner)
        view._inner_iter, view.data_batch = batch_idx, data_batch
        loss = None if outputs is None else outputs.get('loss')
        view.outputs = dict(loss=loss, log_vars=outputs, num_samples=runner.train_dataloader.batch_size)
        self.hook.after_train_iter(view)

    def before_val_epoch(self, runner: Any) -> None:
        """Be told that an evaluation begins."""
        view = _view(runner)
        view.mode = 'val'
        self.hook.before_val_epoch(view)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Be told that an evaluation is over."""
        view = _view(runner)
        view.log_buffer.output.update(metrics or {})
        self.hook.after_val_epoch(view)
        view.mode = 'train'

    def before_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Be told that a batch of an evaluation begins."""
        self.hook.before_val_iter(_view(runner))

    def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Be told that a batch of an evaluation is over."""
        self.hook.after_val_iter(_view(runner))


@HOOKS.register_module()
class MMCV1Setup(Hook):
    """Do what the training scripts of mmcv 1.x's libraries do before a run: tell the model the classes."""

    priority = 'VERY_HIGH'

    def before_train(self, runner: Any) -> None:
        """Set the classes; refuse several processes for a model that steps by itself."""
        module = unwrap(runner.model)
        self._set_classes(module, runner.train_dataloader.dataset)
        if isinstance(module, OwnStep):
            if get_world_size() > 1:
                raise UserError(
                    f'{type(module).__name__} steps its optimizers itself, so nobody would average the gradients of '
                    f'{get_world_size()} processes: train it in one.'
                )
            module.hook_runner = _view(runner)

    def before_val(self, runner: Any) -> None:
        """Set the classes where nothing was trained."""
        self._set_classes(unwrap(runner.model), runner.val_dataloader.dataset)

    def before_test(self, runner: Any) -> None:
        """Set the classes."""
        self._set_classes(unwrap(runner.model), runner.test_dataloader.dataset)

    @staticmethod
    def _set_classes(module: Any, dataset: Any) -> None:
        for name in ('CLASSES', 'PALETTE'):
            value = getattr(dataset, name, None)
            if value is not None and getattr(module, name, None) is None:
                setattr(module, name, value)
