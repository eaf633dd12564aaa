"""Runners of mmcv 1.x: there to be named and derived from; mmopt drives the training."""

import socket
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from getpass import getuser
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from mmopt.mmcv1.registry import Registry, build_from_cfg
from mmopt.utils.errors import UserError

__all__ = [
    'RUNNERS',
    'RUNNER_BUILDERS',
    'BaseRunner',
    'DefaultRunnerConstructor',
    'EpochBasedRunner',
    'IterBasedRunner',
    'IterLoader',
    'LogBuffer',
    'Runner',
    'build_runner',
    'get_host_info',
    'get_time_str',
    'obj_from_dict',
]

RUNNERS = Registry('runner', scope='mmcv')
RUNNER_BUILDERS = Registry('runner builder', scope='mmcv')


def _refuse(what: str) -> UserError:
    return UserError(
        f'{what}: mmopt drives the training itself, with its own runner, loops and hooks. Run tools/train.py CONFIG of '
        "mmopt in the place of the repository's own script."
    )


class BaseRunner:
    """A runner that can be named and derived from, and does not run."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise _refuse(f'{type(self).__name__}(...)')


@RUNNERS.register_module()
class EpochBasedRunner(BaseRunner):
    """See :class:`BaseRunner`."""


@RUNNERS.register_module()
class IterBasedRunner(BaseRunner):
    """See :class:`BaseRunner`."""


class Runner(EpochBasedRunner):
    """The older name of :class:`EpochBasedRunner`."""


@RUNNER_BUILDERS.register_module()
class DefaultRunnerConstructor:
    """A constructor of runners that can be named and derived from."""

    def __init__(self, runner_cfg: Mapping[str, Any], default_args: Mapping[str, Any] | None = None) -> None:
        self.runner_cfg = runner_cfg
        self.default_args = default_args

    def __call__(self) -> Any:
        return build_from_cfg(self.runner_cfg, RUNNERS, self.default_args)


def build_runner(cfg: Mapping[str, Any], default_args: Mapping[str, Any] | None = None) -> Any:
    """Refuse: mmopt drives."""
    del default_args  # mmcv's signature
    raise _refuse(f'build_runner({dict(cfg)})')


class IterLoader:
    """Batches without end, and how often the loader was begun anew.

    Args:
        dataloader: The loader.
    """

    def __init__(self, dataloader: DataLoader) -> None:
        self._dataloader = dataloader
        self._iterator: Iterator = iter(dataloader)
        self._epoch = 0

    @property
    def epoch(self) -> int:
        """How often the loader was begun anew."""
        return self._epoch

    def __next__(self) -> Any:
        try:
            return next(self._iterator)
        except StopIteration:
            self._epoch += 1
            sampler: Any = self._dataloader.sampler
            if hasattr(sampler, 'set_epoch'):
                sampler.set_epoch(self._epoch)
            self._iterator = iter(self._dataloader)
            return next(self._iterator)

    def __len__(self) -> int:
        return len(self._dataloader)


class LogBuffer:
    """Values since the last line, and their averages."""

    def __init__(self) -> None:
        self.val_history: OrderedDict[str, list] = OrderedDict()
        self.n_history: OrderedDict[str, list] = OrderedDict()
        self.output: OrderedDict[str, Any] = OrderedDict()
        self.ready = False

    def clear(self) -> None:
        """Forget everything."""
        self.val_history.clear()
        self.n_history.clear()
        self.clear_output()

    def clear_output(self) -> None:
        """Forget the averages."""
        self.output.clear()
        self.ready = False

    def update(self, vars: Mapping[str, float], count: int = 1) -> None:
        """Add values.

        Args:
            vars: By name.
            count: Samples that they stand for.
        """
        for name, value in vars.items():
            self.val_history.setdefault(name, []).append(value)
            self.n_history.setdefault(name, []).append(count)

    def average(self, n: int = 0) -> None:
        """Average the last values, of all by default, into ``output``."""
        for name, values in self.val_history.items():
            weights = np.array(self.n_history[name][-n:])
            self.output[name] = float(np.sum(np.array(values[-n:]) * weights) / np.sum(weights))
        self.ready = True


def get_host_info() -> str:
    """Return user and host; empty texts where they are not to be had."""
    try:
        return f'{getuser()}@{socket.gethostname()}'
    except Exception:
        return ''


def get_time_str() -> str:
    """Return the time as the names of logs have it."""
    return time.strftime('%Y%m%d_%H%M%S', time.localtime())


def obj_from_dict(info: Mapping[str, Any], parent: Any = None, default_args: Mapping[str, Any] | None = None) -> Any:
    """Build an object of a module's class from a dict.

    Args:
        info: Arguments, and the class or its name under ``type``.
        parent: The module that has the name.
        default_args: Arguments that ``info`` goes before.

    Returns:
        The object.
    """
    arguments = {**(default_args or {}), **info}
    kind = arguments.pop('type')
    return (getattr(parent, kind) if isinstance(kind, str) else kind)(**arguments)
