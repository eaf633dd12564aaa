"""What a hook of mmcv 1.x sees as its runner: the attributes that hooks of published repositories read."""

from typing import Any

import numpy as np
from mmengine.dist import get_rank, get_world_size
from torch import Tensor

from mmopt.mmcv1.adapt.own_step import optimizer_of
from mmopt.mmcv1.standins.parallel import MMDataParallel, is_module_wrapper
from mmopt.utils.errors import UserError

__all__ = ['LogView', 'RunnerView']


class _Output(dict):
    """Values by name; numbers that a hook sets go to mmopt's log."""

    def __init__(self, runner: Any) -> None:
        super().__init__()
        self._runner = runner

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        if isinstance(value, int | float | np.number) or (isinstance(value, Tensor) and value.numel() == 1):
            self._runner.message_hub.update_scalar(f'train/{name}', float(value))


class LogView:
    """The log buffer: what is put there goes to mmopt's log.

    Args:
        runner: The engine's runner.
    """

    def __init__(self, runner: Any) -> None:
        self.output: dict[str, Any] = _Output(runner)
        self.ready = False

    def update(self, vars: dict, count: int = 1) -> None:
        """Log values.

        Args:
            vars: By name.
            count: No difference: log lines average over iterations.
        """
        del count  # mmcv's signature
        for name, value in vars.items():
            self.output[name] = value

    def clear(self) -> None:
        """Forget the values; those that were logged stay."""
        self.output.clear()

    clear_output = clear

    def average(self, n: int = 0) -> None:
        """Do nothing: the log averages."""


class RunnerView:
    """A runner of mmcv 1.x to hooks, over the engine's.

    Args:
        runner: The engine's runner.
    """

    def __init__(self, runner: Any) -> None:
        self._runner = runner
        self.outputs: Any = None
        self.data_batch: Any = None
        self.log_buffer = LogView(runner)
        self.mode = 'train'
        self._wrapped: Any = None
        self._inner_iter = 0
        self._meta: dict[str, Any] | None = None

    def __getattr__(self, name: str) -> Any:
        raise UserError(
            f'runner.{name} is not available to hooks of mmcv 1.x here. They see: '
            f'{", ".join(sorted(key for key in dir(type(self)) if not key.startswith("_")))}, outputs, log_buffer. '
            'Report it if your hook needs it (docs/migrating_from_mmcv1.md says how).'
        )

    @property
    def model(self) -> Any:
        """The model in a wrapper, as in mmcv 1.x: ``runner.model.module`` is the repository's."""
        model = self._runner.model
        if is_module_wrapper(model):
            return model
        if self._wrapped is None or self._wrapped.module is not model:
            self._wrapped = MMDataParallel(model)
        return self._wrapped

    @property
    def optimizer(self) -> Any:
        """The optimizer, or a dict of several."""
        return optimizer_of(self._runner.optim_wrapper)

    @property
    def epoch(self) -> int:
        """Running epoch, from 0; in an iteration-based run the pass over the data."""
        loop = self._runner.train_loop
        if getattr(loop, 'unit', 'epoch') == 'iter':
            return self.iter // max(len(loop.dataloader), 1)
        return self._runner.epoch

    @property
    def iter(self) -> int:
        """Running iteration, from 0."""
        return self._runner.iter

    # Hooks of that time read these, too.
    _epoch = epoch
    _iter = iter

    @property
    def inner_iter(self) -> int:
        """Iteration within its epoch."""
        return self._inner_iter

    @property
    def max_epochs(self) -> Any:
        """Epochs of the run; None where it counts iterations."""
        return None if getattr(self._runner.train_loop, 'unit', '') == 'iter' else self._runner.max_epochs

    @property
    def max_iters(self) -> int:
        """Iterations of the run."""
        return self._runner.max_iters

    _max_epochs = max_epochs
    _max_iters = max_iters

    @property
    def data_loader(self) -> Any:
        """The loader in use."""
        return self._runner.train_dataloader if self.mode == 'train' else self._runner.val_dataloader

    @property
    def logger(self) -> Any:
        """The run's log."""
        return self._runner.logger

    @property
    def work_dir(self) -> str:
        """The folder of the run."""
        return self._runner.work_dir

    @property
    def meta(self) -> dict[str, Any]:
        """Facts that mmcv 1.x's scripts put there, seed and config, and what hooks add; it is not saved."""
        if self._meta is None:
            name, text = self._runner.experiment_name, self._runner.text_of_config()
            self._meta = dict(seed=self._runner.seed, exp_name=name, config=text)
        return self._meta

    @property
    def rank(self) -> int:
        """Number of this process."""
        return get_rank()

    @property
    def world_size(self) -> int:
        """How many processes there are."""
        return get_world_size()

    @property
    def hooks(self) -> list:
        """All hooks of the engine."""
        return self._runner.hooks

    @property
    def timestamp(self) -> str:
        """When the run began."""
        return self._runner.timestamp

    @property
    def model_name(self) -> str:
        """The class of the model."""
        return type(self.model.module).__name__

    def current_lr(self) -> Any:
        """Return the learning rate of each group."""
        optimizer = self.optimizer
        if isinstance(optimizer, dict):
            return {name: [group['lr'] for group in item.param_groups] for name, item in optimizer.items()}
        return [group['lr'] for group in optimizer.param_groups]

    def current_momentum(self) -> Any:
        """Return the momentum of each group: of Adam's kind the first of its two."""

        def of(optimizer: Any) -> list:
            return [group.get('momentum', (group.get('betas') or (0,))[0]) for group in optimizer.param_groups]

        optimizer = self.optimizer
        if isinstance(optimizer, dict):
            return {name: of(item) for name, item in optimizer.items()}
        return of(optimizer)

    def save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """Save the run now, under mmopt's own name; arguments make no difference."""
        self._runner.save_now()
